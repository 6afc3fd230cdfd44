"""The SQL of queues. ``{log}`` is the table of the bus's log, as in `statements`."""

from __future__ import annotations

from typing import Final

# Subscriptions --------------------------------------------------------------------------------------------------------

_RECORD: Final = """
SELECT s.name, s.incarnation, s.definition, s.created_ms, s.after, q.is_paused, q.rules, s.number
FROM subscriptions s JOIN queues q ON q.number = s.number
"""
ALL_SUBSCRIPTIONS: Final = _RECORD + "WHERE s.bus = ? ORDER BY s.name"
FIND_SUBSCRIPTION: Final = _RECORD + "WHERE s.bus = ? AND s.name = ?"
COUNT_SUBSCRIPTIONS: Final = "SELECT count(*) FROM subscriptions WHERE bus = ?"
ADD_SUBSCRIPTION: Final = """
INSERT INTO subscriptions (bus, name, incarnation, definition, created_ms, after) VALUES (?, ?, ?, ?, ?, ?)
"""
ADD_QUEUE: Final = """
INSERT INTO queues (number, rules, claimed_ms, history_from, fill_reached, fill_through) VALUES (?, ?, ?, ?, ?, ?)
"""
REDEFINE: Final = "UPDATE subscriptions SET definition = ? WHERE number = ?"
SET_RULES: Final = "UPDATE queues SET rules = ? WHERE number = ?"
SET_PAUSED: Final = "UPDATE queues SET is_paused = ? WHERE number = ?"
DELETE_SUBSCRIPTION: Final = "DELETE FROM subscriptions WHERE number = ?"
DELETE_QUEUE: Final = "DELETE FROM queues WHERE number = ?"
CLAIMED_MS: Final = "SELECT claimed_ms FROM queues WHERE number = ?"
QUEUE_NUMBERS: Final = "SELECT incarnation, number FROM subscriptions WHERE bus = ?"
ROUTES: Final = "SELECT routes FROM buses WHERE number = ?"
SET_ROUTES: Final = "UPDATE buses SET routes = ? WHERE number = ?"

# The row of a queue ---------------------------------------------------------------------------------------------------

_QUEUE_COLUMNS: Final = """
q.number, q.is_paused, q.rules, q.matched, q.acked, q.waiting, q.leased, q.scheduled, q.dead, q.expired, q.overrun,
q.dropped, q.claimed_ms, q.turn, q.is_due_next, q.copies, q.history_from, q.fill_reached, q.fill_through, q.fill_waiting
"""
FIND_QUEUE: Final = f"SELECT {_QUEUE_COLUMNS} FROM queues q WHERE q.number = ?"  # noqa: S608 - constants
SAVE_QUEUE: Final = """
UPDATE queues SET matched = ?, acked = ?, waiting = ?, leased = ?, scheduled = ?, dead = ?, expired = ?, overrun = ?,
dropped = ?, claimed_ms = ?, turn = ?, is_due_next = ?, copies = ?, history_from = ?, fill_reached = ?,
fill_through = ?, fill_waiting = ? WHERE number = ?
"""
MATCHED: Final = """
UPDATE queues SET matched = matched + ?, waiting = waiting + ? WHERE number = ? RETURNING waiting
"""
OVERRUN: Final = "UPDATE queues SET waiting = waiting - ?, overrun = overrun + ? WHERE number = ?"

_DELETE_FRESH: Final = """
DELETE FROM fresh WHERE (queue, list, position, copy) IN
(SELECT queue, list, position, copy FROM fresh WHERE queue = ? LIMIT ?)
"""
_DELETE_PARKED: Final = """
DELETE FROM parked WHERE (queue, key, position, copy) IN
(SELECT queue, key, position, copy FROM parked WHERE queue = ? LIMIT ?)
"""
_DELETE_UNLEASED: Final = """
DELETE FROM held WHERE (queue, copied, position, copy) IN
(SELECT queue, copied, position, copy FROM held WHERE queue = ? AND state <> 0 LIMIT ?)
"""
_DELETE_HELD: Final = """
DELETE FROM held WHERE (queue, copied, position, copy) IN
(SELECT queue, copied, position, copy FROM held WHERE queue = ? LIMIT ?)
"""
_DELETE_COPIES: Final = """
DELETE FROM copies WHERE (queue, position, copy) IN
(SELECT queue, position, copy FROM copies WHERE queue = ? LIMIT ?)
"""
_DELETE_LETTERS: Final = """
DELETE FROM dead_letters WHERE (queue, died_ms, number) IN
(SELECT queue, died_ms, number FROM dead_letters WHERE queue = ? LIMIT ?)
"""
_DELETE_PUSH_RECORD: Final = """
DELETE FROM push_records WHERE queue IN (SELECT queue FROM push_records WHERE queue = ? LIMIT ?)
"""
_DELETE_PUSH_ATTEMPTS: Final = """
DELETE FROM push_attempts WHERE (queue, number) IN
(SELECT queue, number FROM push_attempts WHERE queue = ? LIMIT ?)
"""
_DELETE_UNHELD_COPIES: Final = """
DELETE FROM copies WHERE (queue, position, copy) IN
(SELECT c.queue, c.position, c.copy FROM copies c WHERE c.queue = ?1 AND NOT EXISTS (SELECT 1 FROM held h
WHERE h.queue = c.queue AND h.copied = 1 AND h.position = c.position AND h.copy = c.copy) LIMIT ?2)
"""
DELETE_ROWS: Final = (_DELETE_FRESH, _DELETE_PARKED, _DELETE_UNLEASED, _DELETE_UNHELD_COPIES)
"""What waits or is scheduled, some rows at a time."""
DELETE_ALL_ROWS: Final = (
    _DELETE_FRESH,
    _DELETE_PARKED,
    _DELETE_HELD,
    _DELETE_COPIES,
    _DELETE_LETTERS,
    _DELETE_PUSH_RECORD,
    _DELETE_PUSH_ATTEMPTS,
)
"""All of a queue, some rows at a time."""

# The lists ------------------------------------------------------------------------------------------------------------

ADD_FRESH: Final = "INSERT INTO fresh (queue, list, position, copy, key, expires_ms) VALUES (?, ?, ?, ?, ?, ?)"
FRESH_PAGE: Final = """
SELECT f.position, f.copy, f.key, f.expires_ms, f.list, l.type, l.source, l.correlationid, l.body
FROM fresh f LEFT JOIN {log} l ON l.position = f.position
WHERE f.queue = ? AND f.list = ? AND (f.position, f.copy) > (?, ?) ORDER BY f.position, f.copy LIMIT ?
"""
HAS_FRESH: Final = "SELECT 1 FROM fresh WHERE queue = ? AND list = ? LIMIT 1"
TAKE_FRESH: Final = "DELETE FROM fresh WHERE queue = ? AND list = ? AND position = ? AND copy = ?"
FRESH_BOUNDARY: Final = """
SELECT position, copy FROM fresh WHERE queue = ? AND list = ? ORDER BY position, copy LIMIT 1 OFFSET ?
"""
DROP_FRESH: Final = "DELETE FROM fresh WHERE queue = ? AND list = ? AND (position, copy) <= (?, ?)"
OLDEST_FRESH: Final = "SELECT min(position) FROM fresh WHERE queue = ? AND list = ?"
FIND_FRESH: Final = "SELECT copy FROM fresh WHERE queue = ? AND list = ? AND position = ? ORDER BY copy DESC LIMIT 1"

# What claims hold -----------------------------------------------------------------------------------------------------

_HELD_COLUMNS: Final = """
h.queue, h.copied, h.position, h.copy, h.state, h.at_ms, h.key, h.expires_ms, h.failures, h.nonce, h.member,
h.first_delivery_ms, h.first_failure_ms, h.last_failure_ms, h.last_error
"""
HELD_PAGE: Final = f"""
SELECT {_HELD_COLUMNS}, coalesce(c.type, l.type), coalesce(c.source, l.source),
CASE h.copied WHEN 1 THEN c.correlationid ELSE l.correlationid END, coalesce(c.body, l.body)
FROM held h
LEFT JOIN copies c ON h.copied = 1 AND c.queue = h.queue AND c.position = h.position AND c.copy = h.copy
LEFT JOIN {{log}} l ON h.copied = 0 AND l.position = h.position
WHERE h.queue = ? AND h.state = ? AND h.at_ms <= ? AND (h.at_ms, h.position, h.copy) > (?, ?, ?)
ORDER BY h.at_ms, h.position, h.copy LIMIT ?
"""  # noqa: S608 - constants
FIND_HELD: Final = f"""
SELECT {_HELD_COLUMNS} FROM held h WHERE h.queue = ? AND h.copied IN (0, 1) AND h.position = ? AND h.copy = ?
"""  # noqa: S608 - constants
HOLD: Final = "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LET_GO: Final = "DELETE FROM held WHERE queue = ? AND copied = ? AND position = ? AND copy = ?"
HOLDS_KEY: Final = "SELECT 1 FROM held WHERE queue = ? AND key = ? AND key <> '' LIMIT 1"
NEXT_AT: Final = "SELECT min(at_ms) FROM held WHERE queue = ? AND state = ?"
OLDEST_HELD: Final = "SELECT min(position) FROM held WHERE queue = ? AND copied = ?"
HELD_OF_STATE: Final = f"""
SELECT {_HELD_COLUMNS} FROM held h WHERE h.queue = ? AND h.state = ? ORDER BY h.at_ms, h.position, h.copy LIMIT ?
"""  # noqa: S608 - constants
FAILING: Final = f"""
SELECT {_HELD_COLUMNS} FROM held h WHERE h.queue = ? AND h.failures > 0 AND h.copied = 1
ORDER BY h.position, h.copy LIMIT ?
"""  # noqa: S608 - constants
HELD_OF_POSITION: Final = f"""
SELECT {_HELD_COLUMNS} FROM held h WHERE h.queue = ? AND h.copied IN (0, 1) AND h.position = ?
ORDER BY h.copy DESC LIMIT 1
"""  # noqa: S608 - constants

# Behind their key -----------------------------------------------------------------------------------------------------

PARK: Final = "INSERT INTO parked (queue, key, position, copy, copied, at_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
NEXT_PARKED: Final = """
SELECT position, copy, copied, at_ms, expires_ms FROM parked WHERE queue = ? AND key = ?
ORDER BY position, copy LIMIT 1
"""
UNPARK: Final = "DELETE FROM parked WHERE queue = ? AND key = ? AND position = ? AND copy = ?"
OLDEST_PARKED: Final = "SELECT min(position) FROM parked WHERE queue = ? AND copied = ?"
PARKED_OF_POSITION: Final = """
SELECT copy FROM parked WHERE queue = ? AND copied IN (0, 1) AND position = ? ORDER BY copy DESC LIMIT 1
"""

# Copies and dead letters ----------------------------------------------------------------------------------------------

ADD_COPY: Final = "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?, ?, ?)"
FIND_COPY: Final = """
SELECT type, source, correlationid, body FROM copies WHERE queue = ? AND position = ? AND copy = ?
"""
DROP_COPY: Final = "DELETE FROM copies WHERE queue = ? AND position = ? AND copy = ?"
LOG_EVENT: Final = "SELECT type, source, correlationid, body FROM {log} WHERE position = ?"

ADD_LETTER: Final = "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
NEWEST_LETTER_MS: Final = "SELECT max(died_ms) FROM dead_letters WHERE queue = ?"
OLDEST_LETTER_MS: Final = "SELECT min(died_ms) FROM dead_letters WHERE queue = ?"
LETTERS: Final = """
SELECT died_ms, number, position, copy, reason, attempts, first_failure_ms, last_failure_ms, last_error, member,
type, source, correlationid, body
FROM dead_letters WHERE queue = ? AND (died_ms, number) > (?, ?) ORDER BY died_ms, number LIMIT ?
"""
FIND_LETTER: Final = """
SELECT position, key, expires_ms, type, source, correlationid, body
FROM dead_letters WHERE queue = ? AND died_ms = ? AND number = ?
"""
DROP_LETTER: Final = "DELETE FROM dead_letters WHERE queue = ? AND died_ms = ? AND number = ?"
LETTER_OF_POSITION: Final = """
SELECT copy, attempts, member, last_error FROM dead_letters WHERE queue = ? AND position = ?
ORDER BY copy DESC LIMIT 1
"""
OLD_LETTERS: Final = (
    "SELECT died_ms, number FROM dead_letters WHERE queue = ? AND died_ms < ? ORDER BY died_ms, number LIMIT ?"
)
OLDEST_LETTERS: Final = "SELECT died_ms, number FROM dead_letters WHERE queue = ? ORDER BY died_ms, number LIMIT ?"
