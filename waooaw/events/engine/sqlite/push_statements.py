"""The SQL of what is kept for subscriptions that are pushed."""

from __future__ import annotations

from typing import Final

FIND_RECORD: Final = """
SELECT coalesce(p.version, 0), coalesce(p.value, x'') FROM queues q LEFT JOIN push_records p ON p.queue = q.number
WHERE q.number = ?
"""
WRITE_RECORD: Final = "INSERT OR REPLACE INTO push_records (queue, version, value) VALUES (?, ?, ?)"
LAST_ATTEMPT: Final = """
SELECT (SELECT coalesce(max(number), 0) FROM push_attempts WHERE queue = q.number) FROM queues q WHERE q.number = ?
"""
ADD_ATTEMPT: Final = "INSERT INTO push_attempts (queue, number, attempt) VALUES (?, ?, ?)"
DROP_ATTEMPTS: Final = "DELETE FROM push_attempts WHERE queue = ? AND number <= ?"
ATTEMPTS: Final = """
SELECT a.attempt FROM queues q LEFT JOIN push_attempts a ON a.queue = q.number WHERE q.number = ? ORDER BY a.number DESC
"""
