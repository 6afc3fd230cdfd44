"""Who serves from an embedded store: one process, so the list is its memory."""

from __future__ import annotations

from typing import Final

from waooaw.events.engine.contract import ReplicaRecord

LIVE_MS: Final = 10_000
"""A replica that has not been heard of for this long is off the list."""


class ReplicaList:
    """Replicas by name, with what each said last."""

    def __init__(self) -> None:
        self._records: dict[str, ReplicaRecord] = {}

    def beat(self, replica: str, members: bytes, now_ms: int) -> tuple[ReplicaRecord, ...]:
        """Note one, drop those that went silent, and return the rest by name."""
        self._records[replica] = ReplicaRecord(replica, now_ms, members)
        self._records = {
            name: record for name, record in sorted(self._records.items()) if now_ms - record.seen_ms < LIVE_MS
        }
        return tuple(self._records.values())

    def leave(self, replica: str) -> None:
        """Take one off the list; one that is not on it is no error."""
        self._records.pop(replica, None)
