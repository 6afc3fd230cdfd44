"""Which live streams an event goes to: event type → routes, remembered until the set of routes changes.

A route is a set of patterns; all streams that ask for the same patterns share it, so a stream that comes or goes
changes nothing unless it is the first or the last of its route.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waooaw.events.pattern import PatternMemo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waooaw.events.bus.sink import Framing, LiveReader
    from waooaw.events.pattern import PatternSet


class Route:
    """The live streams of one set of patterns, by framing."""

    __slots__ = ("groups", "patterns")

    def __init__(self, patterns: PatternSet) -> None:
        self.patterns = patterns
        self.groups: dict[Framing[Any], dict[LiveReader, None]] = {}


class Routes:
    """All routes of a bus."""

    def __init__(self) -> None:
        self._routes: dict[PatternSet, Route] = {}
        self._memo: PatternMemo[tuple[Route, ...]] = PatternMemo(self._find)

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._routes)

    def match(self, event_type: str) -> tuple[Route, ...]:
        """Return the routes that an event of a type takes."""
        return self._memo(event_type)

    def streams(self) -> Iterator[LiveReader]:
        """Return every live stream."""
        for route in self._routes.values():
            for group in route.groups.values():
                yield from group

    def _find(self, event_type: str) -> tuple[Route, ...]:
        return tuple(route for route in self._routes.values() if route.patterns.matches(event_type))

    def add(self, stream: LiveReader) -> None:
        """Add a live stream."""
        route = self._routes.get(stream.patterns)
        if route is None:
            route = self._routes[stream.patterns] = Route(stream.patterns)
            self._memo.clear()
        route.groups.setdefault(stream.framing, {})[stream] = None

    def remove(self, stream: LiveReader) -> None:
        """Remove a live stream; one that is not there is no error."""
        route = self._routes.get(stream.patterns)
        if route is None:
            return
        group = route.groups.get(stream.framing, {})
        group.pop(stream, None)
        if not group:
            route.groups.pop(stream.framing, None)
        if not route.groups:
            del self._routes[stream.patterns]
            self._memo.clear()
