"""What claimers were answered last, so that one whose answer was lost gets it again.

In memory: a claimer dies with this process, and what it had in flight with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.errors import SupersededError

if TYPE_CHECKING:
    from collections.abc import Hashable

KEPT_MS: Final = 3_600_000
"""A call is repeated within seconds, or by an agent that was down for some minutes."""

KEPT_BYTES: Final = 64 * 1024 * 1024
"""The oldest go beyond it: claimers are many where each HTTP call is one, and an answer may hold 4 MiB of events."""

ANSWER_BYTES: Final = 400
"""About what an answer takes without its events, and each of its parts."""


@dataclass(frozen=True, slots=True)
class _Answer:
    sequence: int
    answer: Any
    at_ms: int
    size_bytes: int


class LastAnswers:
    """The last answer of each claimer, oldest first."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, _Answer] = {}
        self._size_bytes = 0

    def find(self, claimer: Hashable, sequence: int) -> Any:  # noqa: ANN401 - what was kept for it
        """Return what a call was answered; None where it is new. Raises `SupersededError` for an older one."""
        last = self._answers.get(claimer)
        if last is None or sequence > last.sequence:
            return None
        if sequence < last.sequence:
            message = f"call {sequence} came after {last.sequence} was done"
            raise SupersededError(message)
        return last.answer

    def keep(self, claimer: Hashable, sequence: int, answer: object, size_bytes: int, now_ms: int) -> None:
        """Note an answer; what is too old or too much goes."""
        self._forget(claimer)
        self._answers[claimer] = _Answer(sequence, answer, now_ms, size_bytes + ANSWER_BYTES)
        self._size_bytes += size_bytes + ANSWER_BYTES
        while len(self._answers) > 1:
            oldest = next(iter(self._answers))
            if self._size_bytes <= KEPT_BYTES and now_ms - self._answers[oldest].at_ms < KEPT_MS:
                return
            self._forget(oldest)

    def _forget(self, claimer: Hashable) -> None:
        gone = self._answers.pop(claimer, None)
        if gone is not None:
            self._size_bytes -= gone.size_bytes
