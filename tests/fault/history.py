"""What clients did and what they were told, written down by the clients themselves, outside the system under test.

Rule 1: an event is written down as begun before its first byte is sent, so that nothing can be stored unknown to us.
Rule 2: no answer is no refusal: it may or may not be stored, and stays *unknown* until a later attempt is answered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Key(NamedTuple):
    """What makes an event one event: its source, and its number at that source, from which its id is made."""

    source: str
    number: int

    @property
    def id(self) -> str:
        """The event's ``id``."""
        return f"{self.number:06d}"


class Outcome(StrEnum):
    """What is known of one attempt to publish an event."""

    OPEN = "open"
    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Operation:
    """One event and the attempts to publish it. ``position`` is that of its receipts, ``code`` its last refusal's."""

    key: Key
    content: str
    attempts: list[Outcome] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    repeats: int = 0
    """Receipts that said ``duplicate``."""

    @property
    def accepted(self) -> bool:
        """Whether a receipt promised that it is stored."""
        return Outcome.OK in self.attempts

    @property
    def may_be_stored(self) -> bool:
        """Whether anything but a refusal was heard of it."""
        return any(attempt is not Outcome.REFUSED for attempt in self.attempts)

    @property
    def unresolved(self) -> bool:
        """Whether it has to be sent again to know."""
        return not self.accepted and self.may_be_stored


class History:
    """Every operation of every client, in the order in which they were begun. Use it as a context; not thread-safe.

    ``path`` gets a JSON line for each step as it happens: what a failed run is examined with.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self.operations: dict[Key, Operation] = {}
        self.accepted = 0
        """Events with a receipt."""
        self.in_flight = 0
        """Attempts that wait for their answer. May be read from another thread."""
        self.longest_silence_seconds = 0.0
        """The longest time between two receipts, of whomever, since `watch_silence`."""
        self._last_receipt: float | None = None
        self.unknown_attempts = 0
        self.refused_attempts = 0

    def __enter__(self) -> Self:
        """Begin to write."""
        self._file = self._path.open("a", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        """End the file."""
        self._file.close()

    def begin(self, key: Key, content: str) -> None:
        """An event is about to be sent, for the first time or again with the same content."""
        operation = self.operations.get(key)
        if operation is None:
            operation = self.operations[key] = Operation(key, content)
        elif operation.content != content:
            raise ValueError(f"{key} is sent again with other content")
        operation.attempts.append(Outcome.OPEN)
        self.in_flight += 1
        self._write("begin", key)

    def watch_silence(self) -> None:
        """Measure from now how long no receipt comes; harmless where that is measured already."""
        if self._last_receipt is None:
            self._last_receipt = self._monotonic()

    def accept(self, key: Key, position: int, *, duplicate: bool) -> None:
        """A receipt came."""
        if self._last_receipt is not None:
            now = self._monotonic()
            self.longest_silence_seconds = max(self.longest_silence_seconds, now - self._last_receipt)
            self._last_receipt = now
        operation = self._settle(key, Outcome.OK)
        if not operation.positions:
            self.accepted += 1
        operation.positions.append(position)
        operation.repeats += duplicate
        self._write("ok", key, position=position, duplicate=duplicate)

    def refuse(self, key: Key, code: str) -> None:
        """An answer came that says that the event is not stored."""
        self._settle(key, Outcome.REFUSED).codes.append(code)
        self.refused_attempts += 1
        self._write("refused", key, code=code)

    def lose(self, key: Key, reason: str) -> None:
        """No answer will come, or one that says that nobody knows."""
        self._settle(key, Outcome.UNKNOWN)
        self.unknown_attempts += 1
        self._write("unknown", key, reason=reason)

    def unresolved(self, source: str) -> list[Key]:
        """Return the events of a source that have to be sent again, in the order in which they were begun."""
        return [key for key, operation in self.operations.items() if key.source == source and operation.unresolved]

    def _settle(self, key: Key, outcome: Outcome) -> Operation:
        operation = self.operations[key]
        if operation.attempts[-1] is not Outcome.OPEN:
            raise ValueError(f"{key} is answered twice: {operation.attempts[-1]}, then {outcome}")
        operation.attempts[-1] = outcome
        self.in_flight -= 1
        return operation

    def _write(self, step: str, key: Key, **members: Any) -> None:  # noqa: ANN401 - whatever JSON can say
        line = {"at": self._monotonic(), "step": step, "source": key.source, "id": key.id, **members}
        self._file.write(json.dumps(line) + "\n")
