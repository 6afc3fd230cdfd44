"""Log lines: one JSON object each, on standard error.

The message is the name of what happened (``retention.failed``); what belongs to it is passed as ``extra``. A repeated
warning or error is written once in ten seconds, with how many there were.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Final

from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

REPEAT_SECONDS: Final = 10.0
REMEMBERED_MAX: Final = 1000
"""Kinds of line remembered for counting repeats; a flood of kinds beyond it is written line by line."""

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "repeated"}


class JsonFormatter(logging.Formatter):
    """One line of JSON a record; control characters come out escaped, so no value can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "timestamp": format_timestamp(int(record.created * 1000)),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if repeated := getattr(record, "repeated", 0):
            line["repeated"] = repeated
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = f"{record.exc_info[0].__name__}: {record.exc_info[1]}"
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class RepeatFilter(logging.Filter):
    """Lets one line of a kind through in ten seconds, and tells in the next how many it held back."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._seen: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is written now."""
        if record.levelno < logging.WARNING:
            return True
        kind = (record.getMessage(), *[getattr(record, name, None) for name in ("code", "bus", "subscription")])
        now = self._monotonic()
        written_at, held_back = self._seen.get(kind, (-REPEAT_SECONDS, 0))
        if now - written_at < REPEAT_SECONDS:
            self._seen[kind] = (written_at, held_back + 1)
            return False
        if len(self._seen) >= REMEMBERED_MAX:
            self._seen.clear()
        self._seen[kind] = (now, 0)
        record.repeated = held_back
        return True


def configure_logging(level: str, monotonic: Callable[[], float]) -> None:
    """Write log lines of a level and above from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RepeatFilter(monotonic))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # aiohttp reports each malformed request of a client with a traceback; the service answers it, and counts.
    logging.getLogger("aiohttp").setLevel(max(logging.ERROR, root.level))
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))
