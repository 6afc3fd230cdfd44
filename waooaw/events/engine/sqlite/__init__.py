"""The embedded engine, on SQLite."""

from __future__ import annotations

from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.sqlite.engine import SqliteEngine
from waooaw.events.engine.sqlite.store import SqliteOptions

__all__ = ["DeduplicationWindow", "SqliteEngine", "SqliteOptions"]
