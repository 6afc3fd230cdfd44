"""``connect``: one address, one bus, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waooaw.events.errors import InvalidSettingError

if TYPE_CHECKING:
    from waooaw.events.interface import Bus


def connect(url: str, *, patience_seconds: float = 30.0) -> Bus:
    """Return the bus at an address, to be entered by ``async with``.

    * ``http://…`` and ``https://…``: a service.
    * ``memory://``: a bus in this process that keeps nothing.
    * ``sqlite:///agent.db`` (four slashes for an absolute path): a bus in this process that keeps its events in a file.

    ``patience_seconds`` is how long calls go on trying while a service is away or busy; streams try until closed.
    Raises `InvalidSettingError` for any other address.
    """
    scheme = url.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        from waooaw.events.client.http_bus import HttpBus

        return HttpBus(url, patience_seconds=patience_seconds)
    if scheme not in {"memory", "sqlite"}:
        message = f"cannot connect to {url!r}: use http://host:port, memory:// or sqlite:///file.db"
        raise InvalidSettingError(message)
    from waooaw.events.bus.local import LocalBus
    from waooaw.events.clock import SystemClock
    from waooaw.events.engine import engine_for
    from waooaw.events.identifier import RandomIdentifiers

    clock, identifiers = SystemClock(), RandomIdentifiers()
    engine = engine_for(url, ("default",), clock=clock, identifiers=identifiers)
    return LocalBus(engine, clock=clock, identifiers=identifiers)
