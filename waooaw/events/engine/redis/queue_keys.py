"""The keys of one queue, in the order in which its scripts know them."""

from __future__ import annotations

from typing import Final

_PARTS: Final = (
    "counts",
    "f0",
    "f1",
    "f2",
    "f3",
    "fill",
    "leases",
    "due",
    "held",
    "copied",
    "references",
    "copies",
    "parked",
    "busy",
    "dead",
    "deadrefs",
)

_PUSHED: Final = ("push", "attempts")
"""What goes with a queue, and scripts on its references need not declare."""

APPENDED: Final = 5
"""So many of them, from the first on, are what an append needs: the counts, and the lists by priority."""


class QueueKeys:
    """The keys of a queue, made from what all of them begin with."""

    __slots__ = ("_prefix", "appended", "attempts", "counts", "deleted", "push", "whole")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.whole = tuple([prefix + part for part in _PARTS])
        self.appended = self.whole[:APPENDED]
        self.counts = self.whole[0]
        self.push, self.attempts = pushed = tuple([prefix + part for part in _PUSHED])
        self.deleted = (*self.whole, *pushed)

    def answer(self, kind: str, claimer: str) -> str:
        """The key of what one claimer was last answered."""
        return f"{self._prefix}a:{kind}:{claimer}"
