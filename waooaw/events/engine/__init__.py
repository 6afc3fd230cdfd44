"""Engines: what stores events and carries them. `open_engine` is the one place that knows which there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waooaw.events.errors import InvalidSettingError

if TYPE_CHECKING:
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.engine.sqlite import SqliteOptions
    from waooaw.events.identifier import Identifiers


def engine_for(
    url: str, buses: tuple[str, ...], *, clock: Clock, identifiers: Identifiers, options: SqliteOptions | None = None
) -> Engine:
    """Return the engine that a URL names, not yet open: ``memory://`` or ``sqlite:///path/to/file.db``.

    Raises `InvalidSettingError` for any other URL.
    """
    from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions  # noqa: PLC0415 - only the engine in use loads

    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest:
        return SqliteEngine(None, buses, clock=clock, identifiers=identifiers, options=options or SqliteOptions())
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        path = Path(rest[1:])
        return SqliteEngine(path, buses, clock=clock, identifiers=identifiers, options=options or SqliteOptions())
    message = f"no engine for {scheme}://; use memory:// or sqlite:///path/to/file.db (absolute paths: four slashes)"
    raise InvalidSettingError(message)
