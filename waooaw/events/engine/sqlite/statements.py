"""Every SQL statement of the engine. ``{log}`` is the table of one bus: its number, never a text from outside."""

from __future__ import annotations

from typing import Final

CREATE_LOG: Final = """
CREATE TABLE {log} (
    position      INTEGER PRIMARY KEY,
    type          TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    correlationid TEXT,
    given         INTEGER NOT NULL, -- 1: the publisher gave the id; 2: the time
    body          BLOB    NOT NULL
) STRICT
"""
FIND_BUS: Final = "SELECT number, last, trimmed_through, events, size_bytes FROM buses WHERE name = ?"
ADD_BUS: Final = "INSERT INTO buses (name) VALUES (?)"
ADD_EPOCH: Final = "INSERT INTO epochs (bus, id, after) VALUES (?, ?, ?)"
EPOCHS: Final = "SELECT id, after FROM epochs WHERE bus = ? ORDER BY number DESC LIMIT ?"
FORGET_EPOCHS: Final = """
DELETE FROM epochs WHERE bus = ?1 AND number <=
(SELECT number FROM epochs WHERE bus = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)
"""
FIRST: Final = "SELECT min(position) FROM {log}"
RECENT_IDS: Final = """
SELECT position, source, id FROM {log} WHERE position > ? AND given & 1 ORDER BY position DESC LIMIT ?
"""
INSERT: Final = """
INSERT INTO {log} (position, type, source, id, correlationid, given, body) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
GROWN: Final = "UPDATE buses SET last = ?, events = ?, size_bytes = ? WHERE number = ?"
TRIMMED: Final = "UPDATE buses SET trimmed_through = ?, events = ?, size_bytes = ? WHERE number = ?"
TRIMMED_THROUGH: Final = "SELECT trimmed_through FROM buses WHERE number = ?"
OLDEST: Final = "SELECT position, length(body) FROM {log} ORDER BY position LIMIT ?"
DELETE: Final = "DELETE FROM {log} WHERE position <= ?"
CONTENT: Final = "SELECT source, id, given, body FROM {log} WHERE position = ?"
GET: Final = "SELECT position, type, source, correlationid, body FROM {log} WHERE position = ?"
OLDEST_FIRST: Final = """
SELECT position, type, source, correlationid, body FROM {log} WHERE position > ? AND position <= ?
ORDER BY position LIMIT ?
"""
NEWEST_FIRST: Final = """
SELECT position, type, source, correlationid, body FROM {log} WHERE position > ? AND position <= ?
ORDER BY position DESC LIMIT ?
"""
