"""Log lines: one JSON object each, about what an operator has to know, whatever clients send."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.service.frames import frame, opened
from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import connected, exchange, request_bytes
from waooaw.events.service.log_lines import REMEMBERED_MAX, REPEAT_SECONDS, JsonFormatter, RepeatFilter

VARIABLES: Final = {"LOG_LEVEL": "DEBUG"}

FORGED: Final = '{"level":"ERROR","event":"forged"}'
HOSTILE: Final = [f"%0d%0a{FORGED}", "%1b%5b2J%1b%5b31m", "%00", "%e2%80%a8", "%ff%fe", "%85", "..%2f..%2fetc"]


async def test_nothing_of_a_request_reaches_the_log(service: WatchedService) -> None:
    """No line is written for a request, at any level: so nothing that a client sends can forge one or fill a disk."""
    before = service.log_text
    for text in HOSTILE:
        quoted = text.replace('"', "%22").replace("{", "%7b").replace("}", "%7d")
        for target in (
            f"/{quoted}",
            f"/v1/events/{quoted}",
            f"/v1/events?{quoted}={quoted}",
            f"/v1/stream?from={quoted}",
        ):
            assert (await service.call("GET", target)).status in {400, 404}
        headers = dict.fromkeys(("User-Agent", "Accept", "Last-Event-ID", "X-Request-ID", "Idempotency-Key"), text)
        await service.call("GET", "/v1/log", headers)
        await service.call("POST", "/v1/events", {"Content-Type": text}, event_bytes())
        binary = {"ce-type": "log.binary", "ce-source": "/a", "ce-id": text}
        await service.call("POST", "/v1/events", binary)
    for raw in ("\r\n" + FORGED, "\x1b[31m", "\x00", "\ud800", "\u202e", "a" * 10_000):
        await service.publish(event_bytes("log.event", id=raw, subject=raw, data=raw))
        await service.publish(event_bytes(raw))
        await service.publish(event_bytes("log.event", **{raw: 1}))
    for junk in (b"\x1b[31m\r\n\r\n", b"GET /\n" + FORGED.encode() + b"\n\n", b"\xff" * 100 + b"\r\n\r\n"):
        await exchange(service.port, junk)
    async with opened(service.port) as socket:
        await socket.send(b"\x1b[31m\n" + FORGED.encode())
        await socket.wire.send(frame(b"\x1b[31m", 3))
        await socket.closed()
    async with connected(service.port) as wire:
        await wire.send(request_bytes("POST", "/v1/events", {"Content-Type": "application/json"}, b"{}")[:-1])
    assert (await service.call("GET", "/metrics?format=prometheus")).status == 200
    assert service.log_text == before


async def test_lines_of_a_life(tmp_path: Path) -> None:
    """A life is told in lines with time, level, logger and event: where it listens, that it drains, that it stops."""
    with WatchedService(tmp_path) as service:
        service.terminate()
        lines = {line["event"]: line for line in service.log_lines}
        assert lines.keys() >= {"service.started", "service.draining", "service.stopped"}
        assert lines["service.started"]["url"] == service.url
        assert lines["service.started"]["store"] == str(service.data_directory / "wowevent.db")
        assert lines["service.draining"]["signal"] == "SIGTERM"
        assert lines["service.stopped"]["drained"] is True
        for line in lines.values():
            assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
            assert line["level"] in {"INFO", "WARNING"}
        service.check_log_lines()


async def test_the_least_level(tmp_path: Path) -> None:
    """Lines below the level asked for are not written."""
    with WatchedService(tmp_path, {"LOG_LEVEL": "error"}) as service:
        service.terminate()
        assert service.log_text == ""


# The formatter and the filter, without a service ----------------------------------------------------------------------


class Lines(logging.Handler):
    """Keeps what would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[dict[str, Any]] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line; it must be one line, and JSON."""
        text = self.format(record)
        assert text.isascii()
        assert text.isprintable()
        self.written.append(json.loads(text))


Wait = Callable[[float], None]


@pytest.fixture
def lines() -> Iterator[tuple[logging.Logger, Lines, Wait]]:
    """A logger, what it writes, and a way to let time pass."""
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    handler = Lines()
    handler.addFilter(RepeatFilter(lambda: now[0]))
    logger = logging.getLogger("wowevent.test")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield logger, handler, wait
    logger.removeHandler(handler)


def test_values_are_escaped(lines: tuple[logging.Logger, Lines, Wait]) -> None:
    """Whatever a value holds, the line stays one line of printable ASCII that decodes to the value."""
    logger, handler, _ = lines
    hostile = '\r\n{"level":"ERROR"}\x1b[31m\x00\u2028\u202e\ud800"\\'
    logger.info("test.value", extra={"detail": hostile, "nested": {"a": [hostile]}, "path": Path("/a")})
    try:
        int(hostile)
    except ValueError:
        logger.exception("test.failed")
    value, failed = handler.written
    assert (value["detail"], value["nested"], value["path"]) == (hostile, {"a": [hostile]}, "/a")
    assert failed["error"].startswith("ValueError: invalid literal")
    assert failed["traceback"].startswith("Traceback")


def test_repeats_are_counted(lines: tuple[logging.Logger, Lines, Wait]) -> None:
    """A warning that repeats is written once in ten seconds; the next one says how many were held back."""
    logger, handler, wait = lines
    for _ in range(1000):
        logger.warning("test.trouble", extra={"code": "full"})
    logger.warning("test.trouble", extra={"code": "other"})
    logger.error("test.other")
    wait(REPEAT_SECONDS)
    logger.warning("test.trouble", extra={"code": "full"})
    told = [(line["event"], line.get("code"), line.get("repeated")) for line in handler.written]
    assert told == [
        ("test.trouble", "full", None),
        ("test.trouble", "other", None),
        ("test.other", None, None),
        ("test.trouble", "full", 999),
    ]


def test_news_is_not_held_back(lines: tuple[logging.Logger, Lines, Wait]) -> None:
    """Lines below a warning tell of single things, and are all written."""
    logger, handler, _ = lines
    for _ in range(3):
        logger.info("connection.stalled")
    assert len(handler.written) == 3


def test_kinds_are_bounded(lines: tuple[logging.Logger, Lines, Wait]) -> None:
    """Counting repeats remembers a bounded number of kinds, however many come."""
    logger, handler, _ = lines
    for number in range(3 * REMEMBERED_MAX):
        logger.warning("test.kind.%d", number)
    assert len(handler.written) == 3 * REMEMBERED_MAX
    (held,) = [kept for kept in handler.filters if isinstance(kept, RepeatFilter)]
    assert len(held._seen) <= REMEMBERED_MAX  # noqa: SLF001 - that it is bounded shows nowhere else
