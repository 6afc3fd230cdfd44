"""Who wants to hear that something became claimable in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Wakes:
    """The listeners of one bus."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[str | None], None]] = {}

    def listen(self, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """Call a listener with the incarnation of each queue that is woken, None for all; return what ends it."""
        key = object()
        self._listeners[key] = listener

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    def tell(self, incarnation: str | None) -> None:
        """Tell all listeners."""
        for listener in tuple(self._listeners.values()):
            listener(incarnation)
