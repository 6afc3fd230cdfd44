-- Format 3: what is kept for subscriptions that are pushed.

CREATE TABLE push_records (
    queue   INTEGER PRIMARY KEY,
    version INTEGER NOT NULL, -- grows with every write
    value   BLOB    NOT NULL
) STRICT;

CREATE TABLE push_attempts ( -- the newest of each queue, without a gap
    queue   INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    attempt BLOB    NOT NULL,
    PRIMARY KEY (queue, number)
) STRICT, WITHOUT ROWID;
