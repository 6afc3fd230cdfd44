"""Looks at how a server is set up, at each connect and every minute: what is safe today may be edited tomorrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis.exceptions import NoPermissionError, ResponseError

from waooaw.events.engine.redis.safety import (
    CONFIG_NAMES,
    ServerReport,
    Verdict,
    judge,
    parse_config,
    parse_info,
    size_bytes_max,
)
from waooaw.events.errors import EngineUnsuitableError
from waooaw.events.outages import DurabilityUnavailableError, EngineReadOnlyError, UnavailableError, UnsafeEngineError

if TYPE_CHECKING:
    from waooaw.events.engine.redis.link import Link
    from waooaw.events.receipt import Durability

SECONDS: Final = 2.0


class Examination:
    """What was found at the last look at the server of one bus."""

    def __init__(self, durability: Durability, buses: int) -> None:
        self._durability: Durability = durability
        self._buses = buses
        self._report = ServerReport({}, None)
        self._verdict = Verdict(None, ())

    async def examine(self, link: Link, *, is_start: bool) -> None:
        """Look; raises `EngineUnsuitableError` at a start, `EngineReadOnlyError` on a replica, and as `Link.call`."""
        info = parse_info(await link.call("INFO", timeout_seconds=SECONDS))
        if info.get("role") != "master":
            message = f"Redis at {link.where} is a replica now; the primary is looked for"
            raise EngineReadOnlyError(message)
        self._report = ServerReport(info, await _config(link))
        self._verdict = judge(self._report, {self._durability})
        if self._verdict.refusal is not None and is_start:
            raise EngineUnsuitableError(self._verdict.refusal)

    @property
    def problem(self) -> UnavailableError | None:
        """Why publishes are to be refused, though the server would take them."""
        if self._verdict.refusal is not None:
            return UnsafeEngineError(self._verdict.refusal, retry_after_seconds=5)
        if self._verdict.durability_problem is not None:
            return DurabilityUnavailableError(self._verdict.durability_problem)
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know."""
        return self._verdict.warnings

    @property
    def size_bytes_max(self) -> int | None:
        """Room for the log of one bus, where the server has a limit."""
        return size_bytes_max(self._report, self._buses)

    @property
    def version(self) -> str:
        """What serves, and its version."""
        return self._report.product


async def _config(link: Link) -> dict[str, str] | None:
    try:
        return parse_config(await link.call("CONFIG", "GET", *CONFIG_NAMES, timeout_seconds=SECONDS))
    except NoPermissionError:
        return None
    except ResponseError as error:
        if "unknown command" in str(error).lower():  # renamed away, as hosters do
            return None
        raise
