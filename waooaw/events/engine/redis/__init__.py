"""The engine on Redis: many replicas over one log."""

from __future__ import annotations

from waooaw.events.engine.redis.connecting import TlsFiles
from waooaw.events.engine.redis.engine import RedisEngine
from waooaw.events.engine.redis.open_buses import RedisOptions

__all__ = ["RedisEngine", "RedisOptions", "TlsFiles"]
