"""Engines: what stores events and carries them. `engine_for` is the one place that knows which there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waooaw.events.errors import InvalidSettingError

if TYPE_CHECKING:
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.engine.redis import RedisOptions
    from waooaw.events.engine.sqlite import SqliteOptions
    from waooaw.events.identifier import Identifiers

REDIS_SCHEMES = frozenset({"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"})


def engine_for(
    url: str,
    buses: tuple[str, ...],
    *,
    clock: Clock,
    identifiers: Identifiers,
    sqlite: SqliteOptions | None = None,
    redis: RedisOptions | None = None,
) -> Engine:
    """Return the engine that a URL names, not yet open, with the options for its kind.

    ``memory://``, ``sqlite:///path/to/file.db``, and the URLs of Redis: ``redis://``, ``redis+sentinel://``,
    ``redis+cluster://``, each with ``rediss`` for TLS. Raises `InvalidSettingError` for any other URL.
    """
    scheme, separator, rest = url.partition("://")
    if scheme.lower() in REDIS_SCHEMES:
        from waooaw.events.engine.redis import RedisEngine, RedisOptions  # noqa: PLC0415 - only the engine in use loads

        return RedisEngine(url, buses, clock=clock, identifiers=identifiers, options=redis or RedisOptions())
    path = Path(rest[1:]) if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1 else None
    if path is None and not (scheme == "memory" and separator and not rest):
        message = (
            f"no engine for {scheme}://; use redis://host:port, memory:// or sqlite:///path/to/file.db "
            "(absolute paths: four slashes)"
        )
        raise InvalidSettingError(message)
    from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions  # noqa: PLC0415 - as above

    return SqliteEngine(path, buses, clock=clock, identifiers=identifiers, options=sqlite or SqliteOptions())
