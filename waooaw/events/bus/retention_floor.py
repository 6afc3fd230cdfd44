"""The oldest event that subscriptions still need: retention removes nothing from there on but for want of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waooaw.events.bus.subscriptions import STATES_MAX

if TYPE_CHECKING:
    from waooaw.events.bus.subscriptions import Subscriptions
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.position import Position


class RetentionFloor:
    """Asks the queues of the subscriptions that count."""

    def __init__(self, engine: Engine, bus: str, subscriptions: Subscriptions, clock: Clock) -> None:
        self._engine = engine
        self._bus = bus
        self._subscriptions = subscriptions
        self._clock = clock

    async def position(self) -> Position | None:
        """Return the oldest position that is needed, None where none is. Raises `UnavailableError` kinds."""
        await self._subscriptions.refresh()
        incarnations = await self._counting()
        found = []
        for start in range(0, len(incarnations), STATES_MAX):
            oldest = await self._engine.oldest_needed(self._bus, incarnations[start : start + STATES_MAX])
            if oldest is not None:
                found.append(oldest)
        return min(found, default=None)

    async def _counting(self) -> list[str]:
        """Return the subscriptions but for those that nobody claimed from for longer than they are kept unused."""
        limits = {
            known.record.incarnation: known.definition.expires_after_seconds
            for known in self._subscriptions.known.values()
        }
        unused = [incarnation for incarnation, seconds in limits.items() if seconds is not None]
        now_ms = self._clock.now_ms()
        for incarnation, state in zip(unused, await self._subscriptions.states(unused), strict=True):
            seconds = limits[incarnation]
            if state is None or (seconds is not None and state.claimed_ms + seconds * 1000 < now_ms):
                del limits[incarnation]
        return list(limits)
