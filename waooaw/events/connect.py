"""``connect``: one address, one bus, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waooaw.events.bus_names import DEFAULT_BUS, check_bus_name
from waooaw.events.errors import InvalidSettingError
from waooaw.events.retention import RetentionLimits
from waooaw.events.settings import Settings

if TYPE_CHECKING:
    from waooaw.events.interface import Bus

MEMORY_BYTES_MAX: Final = 256 * 1024 * 1024
"""Events that a bus in memory keeps; what a process can spare, and half a million common ones."""


def connect(url: str, *, bus: str = DEFAULT_BUS, patience_seconds: float = 30.0) -> Bus:
    """Return a bus at an address, to be entered by ``async with``.

    * ``http://…`` and ``https://…``: a service.
    * ``memory://``: a bus in this process, gone with it.
    * ``sqlite:///agent.db`` (four slashes for an absolute path): a bus in this process that keeps its events in a file.
    * ``redis://host:6379``, ``redis+sentinel://…``, ``redis+cluster://…``, each with ``rediss`` for TLS: a bus in this
      process over Redis, the same one that services there serve, without a service between.

    ``bus`` is its name: each has a log of its own, and a service serves those that it is set to serve.
    ``patience_seconds`` is how long calls go on trying while a service is away or busy; streams and consumers try until
    they are closed.
    Raises `InvalidSettingError` for any other address, and for what is no name of a bus.
    """
    check_bus_name(bus)
    scheme = url.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        from waooaw.events.client.http_bus import HttpBus

        return HttpBus(url, bus=bus, patience_seconds=patience_seconds)
    from waooaw.events.engine import REDIS_SCHEMES, engine_for

    if scheme not in {"memory", "sqlite"} | REDIS_SCHEMES:
        known = "http://host:port, redis://host:port, sqlite:///file.db or memory://"
        message = f"cannot connect to an address that begins with {scheme[:32]!r}: use {known}"
        raise InvalidSettingError(message)
    from waooaw.events.bus.event_bus import BusOptions
    from waooaw.events.bus.local import LocalBus
    from waooaw.events.clock import SystemClock
    from waooaw.events.identifier import RandomIdentifiers

    clock, identifiers = SystemClock(), RandomIdentifiers()
    engine = engine_for(url, (bus,), clock=clock, identifiers=identifiers)
    options = BusOptions(retention=_retention(MEMORY_BYTES_MAX if scheme == "memory" else None))
    return LocalBus(engine, bus, clock=clock, identifiers=identifiers, options=options)


def _retention(bytes_max: int | None) -> RetentionLimits:
    """Return what a service keeps unless it is told otherwise, or less."""
    defaults = Settings()
    return RetentionLimits(
        max_age_seconds=defaults.retention_age_seconds,
        max_events=defaults.retention_events,
        max_bytes=bytes_max or defaults.retention_bytes,
    )
