-- The store of the embedded engine, format 1: logs. Positions are `ms << 20 | sequence` (position.py).

CREATE TABLE buses (
    number          INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    last            INTEGER NOT NULL DEFAULT 0, -- the newest position ever given out
    trimmed_through INTEGER NOT NULL DEFAULT 0, -- everything at or before it was removed by retention
    events          INTEGER NOT NULL DEFAULT 0,
    size_bytes      INTEGER NOT NULL DEFAULT 0  -- of the bodies
) STRICT;

CREATE TABLE epochs (
    number INTEGER PRIMARY KEY, -- in the order they began
    bus    INTEGER NOT NULL REFERENCES buses (number),
    id     BLOB    NOT NULL,    -- 8 bytes, big-endian
    after  INTEGER NOT NULL     -- the last position before the epoch began
) STRICT;
