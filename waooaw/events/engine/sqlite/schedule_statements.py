"""The SQL of events for later."""

from __future__ import annotations

from typing import Final

COUNT: Final = "SELECT scheduled FROM buses WHERE number = ?"
COUNTED: Final = "UPDATE buses SET scheduled = scheduled + ? WHERE number = ?"
ADD: Final = "INSERT INTO scheduled (bus, due_ms, id, time_given, body) VALUES (?, ?, ?, ?, ?)"
FIND: Final = "SELECT due_ms, body, time_given FROM scheduled WHERE bus = ? AND id = ?"
REMOVE: Final = "DELETE FROM scheduled WHERE bus = ? AND id = ?"
DUE: Final = "SELECT id, due_ms, body FROM scheduled WHERE bus = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT ?"
NEXT: Final = "SELECT due_ms FROM scheduled WHERE bus = ? AND (due_ms, id) > (?, ?) ORDER BY due_ms, id LIMIT 1"
PAGE: Final = """
SELECT id, due_ms, body FROM scheduled WHERE bus = ? AND (due_ms, id) > (?, ?) ORDER BY due_ms, id LIMIT ?
"""
