-- Format 2: durable subscriptions, and events for later. Times are Unix milliseconds.

ALTER TABLE buses ADD COLUMN routes INTEGER NOT NULL DEFAULT 0;    -- grows with every change of subscriptions
ALTER TABLE buses ADD COLUMN scheduled INTEGER NOT NULL DEFAULT 0; -- events for later

CREATE TABLE subscriptions (
    number      INTEGER PRIMARY KEY AUTOINCREMENT, -- of its queue; none is used again
    bus         INTEGER NOT NULL REFERENCES buses (number),
    name        TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    definition  BLOB    NOT NULL,
    created_ms  INTEGER NOT NULL,
    after       INTEGER NOT NULL,
    UNIQUE (bus, name),
    UNIQUE (bus, incarnation)
) STRICT;

CREATE TABLE queues (
    number       INTEGER PRIMARY KEY,
    is_paused    INTEGER NOT NULL DEFAULT 0,
    rules        BLOB    NOT NULL,           -- JSON
    matched      INTEGER NOT NULL DEFAULT 0, -- the nine counts
    acked        INTEGER NOT NULL DEFAULT 0,
    waiting      INTEGER NOT NULL DEFAULT 0,
    leased       INTEGER NOT NULL DEFAULT 0,
    scheduled    INTEGER NOT NULL DEFAULT 0,
    dead         INTEGER NOT NULL DEFAULT 0,
    expired      INTEGER NOT NULL DEFAULT 0,
    overrun      INTEGER NOT NULL DEFAULT 0,
    dropped      INTEGER NOT NULL DEFAULT 0,
    claimed_ms   INTEGER NOT NULL,
    turn         INTEGER NOT NULL DEFAULT 0, -- of the priorities
    is_due_next  INTEGER NOT NULL DEFAULT 1, -- whose turn it is of due and fresh
    copies       INTEGER NOT NULL DEFAULT 0, -- the last number given to a reference that a fill or a redrive made
    history_from INTEGER NOT NULL,           -- what came at or before it was never put here
    fill_reached INTEGER,                    -- of the fill under way
    fill_through INTEGER,
    fill_waiting INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE fresh ( -- references that nobody claimed yet
    queue      INTEGER NOT NULL,
    list       INTEGER NOT NULL, -- 0 to 3: the priority; 4: made by a fill
    position   INTEGER NOT NULL,
    copy       INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, list, position, copy)
) STRICT, WITHOUT ROWID;

CREATE TABLE held ( -- references that a claim or a redrive took out of the lists
    queue             INTEGER NOT NULL,
    copied            INTEGER NOT NULL, -- 1: its event is in copies, and the log is not needed for it
    position          INTEGER NOT NULL,
    copy              INTEGER NOT NULL,
    state             INTEGER NOT NULL, -- 0: leased; 1: scheduled; 2: waiting
    at_ms             INTEGER NOT NULL, -- when the lease lapses, or it may be claimed
    key               TEXT    NOT NULL,
    expires_ms        INTEGER NOT NULL,
    failures          INTEGER NOT NULL,
    nonce             TEXT    NOT NULL,
    member            TEXT    NOT NULL,
    first_delivery_ms INTEGER NOT NULL, -- 0: never delivered
    first_failure_ms  INTEGER NOT NULL,
    last_failure_ms   INTEGER NOT NULL,
    last_error        TEXT,
    PRIMARY KEY (queue, copied, position, copy)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_by_time ON held (queue, state, at_ms, position, copy);
CREATE INDEX held_by_key ON held (queue, key) WHERE key <> '';
CREATE INDEX held_failing ON held (queue, position) WHERE failures > 0;

CREATE TABLE parked ( -- references behind a held one of their key
    queue      INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    copy       INTEGER NOT NULL,
    copied     INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL, -- it may not be claimed before
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, key, position, copy)
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_by_position ON parked (queue, copied, position);

CREATE TABLE copies ( -- the events of references that failed, or were redriven
    queue         INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    copy          INTEGER NOT NULL,
    type          TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    correlationid TEXT,
    body          BLOB    NOT NULL,
    PRIMARY KEY (queue, position, copy)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    queue            INTEGER NOT NULL,
    died_ms          INTEGER NOT NULL,
    number           INTEGER NOT NULL,
    position         INTEGER NOT NULL,
    copy             INTEGER NOT NULL,
    key              TEXT    NOT NULL,
    expires_ms       INTEGER NOT NULL,
    reason           TEXT    NOT NULL,
    attempts         INTEGER NOT NULL,
    first_failure_ms INTEGER NOT NULL,
    last_failure_ms  INTEGER NOT NULL,
    last_error       TEXT    NOT NULL,
    member           TEXT    NOT NULL,
    type             TEXT    NOT NULL,
    source           TEXT    NOT NULL,
    correlationid    TEXT,
    body             BLOB    NOT NULL,
    PRIMARY KEY (queue, died_ms, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letters_by_position ON dead_letters (queue, position);

CREATE TABLE scheduled ( -- events beside the log until they are due
    bus        INTEGER NOT NULL REFERENCES buses (number),
    due_ms     INTEGER NOT NULL,
    id         TEXT    NOT NULL,
    time_given INTEGER NOT NULL, -- whether the publisher gave the time
    body       BLOB    NOT NULL,
    PRIMARY KEY (bus, due_ms, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX scheduled_by_id ON scheduled (bus, id);
