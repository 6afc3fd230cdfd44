"""What an engine keeps for a subscription that is pushed; common rules: `waooaw.events.engine.queue_contract`.

Both go with the queue when the subscription is deleted; an unknown incarnation raises `NotFoundError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class PushRecord:
    """What the replicas know of a receiver together; ``value`` is theirs, and opaque here.

    ``version`` 0: nothing was ever written, and ``value`` is empty. ``now_ms`` is the engine's clock at the answer.
    """

    value: bytes
    version: int
    now_ms: int


class PushRecords(Protocol):
    """One record and a bounded list of attempts for each queue."""

    async def push_record(self, bus: str, incarnation: str) -> PushRecord:
        """Return the record as the last write left it."""
        ...

    async def write_push_record(
        self, bus: str, incarnation: str, value: bytes, *, expected: int, tells: bool = False
    ) -> PushRecord:
        """Replace the record where its version is ``expected``, which makes it one more; return it as it is then.

        Where it has another version nothing is done: the record that is returned says so. At most 64 KiB. With
        ``tells`` a wake with the incarnation follows (see `Subscriptions.listen_to_wakes`). An answer that was lost
        is asked for again by the engine until its time is over, so that a write of the caller's own may be answered
        as one of somebody else: read it as any other.
        """
        ...

    async def add_push_attempts(self, bus: str, incarnation: str, attempts: Sequence[bytes], *, kept: int) -> None:
        """Add up to 1,000 attempts, opaque here, in their order; the oldest beyond ``kept`` go. May be done twice."""
        ...

    async def push_attempts(self, bus: str, incarnation: str) -> tuple[bytes, ...]:
        """Return the attempts that are kept, the newest first."""
        ...
