"""How a bus does on Redis: what is wrong, since when, and whether it is over.

Three things can be wrong while the connection stands: how the server is set up (`Examination`), what it refused an
append for, and what it would refuse the next one for. The last is tried on a key of its own (the probe), at each
connect, every minute, and twice a second while something is wrong, so that trouble is told, and ends by itself.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from waooaw.events.engine.contract import EngineState
from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.examination import Examination
from waooaw.events.engine.redis.failure import reply_failure
from waooaw.events.outages import DurabilityUnavailableError, EngineUnavailableError, UnavailableError
from waooaw.events.position import position_milliseconds

if TYPE_CHECKING:
    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.session import Session

_log = logging.getLogger("wowevent.redis")

PROBE_SECONDS: Final = 2.0

CONFIRM_MS: Final = 200
"""How long replicas are given to confirm a probe: it stands in the way of reads for that long."""

CLOCK_AHEAD_SECONDS: Final = 60
"""Log time this far ahead of the clock is worth a warning: less is what NTP corrects."""


class BusHealth:
    """The health of one bus. Used from the event loop only."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus
        self.examination = Examination(bus.options.durability, bus.options.buses)
        self.refusal: UnavailableError | None = None
        """What an append or a probe was refused for, by a server that is there; until one succeeds."""
        self._state = EngineState()

    @property
    def problem(self) -> UnavailableError | None:
        """What publishes would be refused with now, though the connection stands."""
        return self.examination.problem or self.refusal

    def engine_state(self, now_ms: int) -> EngineState:
        """Return how Redis does for this bus."""
        keeper = self._bus.keeper
        if keeper.current is None and keeper.problem is not None:
            return EngineState(keeper.problem, keeper.since_ms)
        problem = self.problem
        if type(problem) is not type(self._state.problem):
            self._state = EngineState(problem, None if problem is None else now_ms)
            self._report(problem)
        return self._state

    def _report(self, problem: UnavailableError | None) -> None:
        extra: dict[str, object] = {"bus": self._bus.bus}
        if problem is None:
            _log.info("redis.accepting", extra=extra)
        else:
            _log.warning("redis.refusing", extra=extra | {"code": problem.code, "detail": problem.detail})

    def warnings(self, now_ms: int) -> list[str]:
        """Return what an operator should know."""
        warnings = list(self.examination.warnings)
        bus = self._bus.bus
        ahead_seconds = (position_milliseconds(self._bus.tracker.last) - now_ms) // 1000
        if ahead_seconds > CLOCK_AHEAD_SECONDS:
            warnings.append(
                f"the log of bus {bus} is {ahead_seconds} s ahead of the clock: a clock of Redis ran ahead once; "
                "positions go on growing, times in them are late until the clock catches up"
            )
        if self._bus.keeper.current is not None and not self._bus.live.listening.is_set():
            reason = self._bus.live.problem
            why = "" if reason is None else f" ({reason.detail})"
            warnings.append(f"the live channel of bus {bus} is not heard{why}: live events come up to a second late")
        return warnings

    async def examine(self, session: Session, *, is_start: bool) -> None:
        """Look at the server, let go of old ids, and try what the next append needs. Raises as `Link.call`."""
        told = set(self.examination.warnings)
        await self.examination.examine(session.reading, is_start=is_start)
        for text in self.examination.warnings:
            if text not in told and not is_start:
                _log.warning("redis.warning", extra={"bus": self._bus.bus, "detail": text})
        await self.probe(session)
        if self.refusal is None:
            options, keys = self._bus.options, self._bus.keys
            arguments = (options.window.seconds * 1000, options.now_us())
            await self._bus.evaluate(session, script.TIDY, (keys.meta, *keys.ids), arguments)

    async def probe(self, session: Session) -> None:
        """Try, on a key of its own, what an append needs, and take what comes of it for the refusal, or its end."""
        keys, options, link = self._bus.keys, self._bus.options, session.reading
        arguments = (options.publish_command, keys.probe)
        try:
            wrong = await link.evaluate(
                script.PROBE, (*keys.whole, keys.probe), arguments, timeout_seconds=PROBE_SECONDS
            )
            if (
                not wrong
                and isinstance(self.refusal, DurabilityUnavailableError)
                and options.durability == "replicated"
            ):
                confirmed = await link.call("WAIT", 1, CONFIRM_MS, timeout_seconds=PROBE_SECONDS)
                if confirmed < 1:
                    return
        except RedisError as error:
            self.refusal = reply_failure(error, link.where)
            return
        self.refusal = None
        if wrong:
            name, found, wanted = (text.decode() for text in wrong)
            self.refusal = EngineUnavailableError(
                f"{name} in Redis at {link.where} is a {found}, and has to be a {wanted}: another program wrote it, or "
                "somebody by hand; put it back, or delete it"
            )
