"""The life of the service: start, serve, drain, stop.

Start: take the port, open the store, then accept; what fails is undone, and said in one sentence.
Drain (SIGTERM, SIGINT): not ready at once; a lame duck still serves, each response closing its connection, while
balancers take note; then accept no more, finish what was accepted and what receivers of webhooks were sent, tell
streams where they were and when to come back, let slow readers have their answers, close. A second signal ends it at
once.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from aiohttp import web

from waooaw.events.clock import SystemClock
from waooaw.events.service.app import build_app, open_context
from waooaw.events.service.listener import Listener, bind
from waooaw.events.service.log_lines import configure_logging
from waooaw.events.service.prompt_route import PromptRoute
from waooaw.events.service.publishing import publish
from waooaw.events.service.replica import Replica
from waooaw.events.service.subscription_watch import SubscriptionWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from waooaw.events.service.context import Context
    from waooaw.events.settings import Settings

_log = logging.getLogger("wowevent.service")

CLOSING_SECONDS: Final = 2.0
"""How long sockets get to take their last message and close by themselves."""

EXIT_OK, EXIT_CUT = 0, 1

SWITCH_SECONDS: Final = 0.0001
"""How long the event loop may keep the interpreter from the thread that commits. At Python's 5 ms a busy loop on
uvloop, which gives the interpreter up often and takes it back at once, kept it for seconds (docs/adr/0002).
"""

COLLECTOR_OBJECTS: Final = 10_000
"""Containers more than before that begin a look for cycles: at Python's 700 a busy service looks at each few hundredth
request, 0.7 of 50 microseconds a request, and finds nothing. So many are under 5 MB, and looked at in 3 ms.
"""

ARRIVAL_SECONDS: Final = 0.5
"""How long requests that are on their way when accepting ends may take to arrive: their clients have sent them."""


def run_service(
    settings: Settings, announce: Callable[[str, str], None] | None = None, *, unread_variables: Sequence[str] = ()
) -> int:
    """Serve until a signal; return the exit status: 0 after a whole drain, 1 where it or an answer was cut short.

    ``announce`` is told the URL and where events are kept, once the service accepts connections. ``unread_variables``
    are named in a warning. Raises `StartupError`.
    """
    configure_logging(settings.log_level, SystemClock().monotonic)
    sys.setswitchinterval(SWITCH_SECONDS)
    if unread_variables:
        detail = "no setting has this name, and nothing reads it; the guide lists the settings"
        _log.warning("settings.unknown", extra={"variables": list(unread_variables), "detail": detail})
    gc.set_threshold(COLLECTOR_OBJECTS, *gc.get_threshold()[1:])
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop where it installs: a fifth more requests a second, and no difference that the tests could find."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


class _Signals:
    """The first signal asks for a drain, the second for an end."""

    def __init__(self) -> None:
        self.first: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        self.second = asyncio.Event()

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive, number)

    def _receive(self, number: signal.Signals) -> None:
        if self.first.done():
            self.second.set()
        else:
            self.first.set_result(number)


async def _serve(settings: Settings, announce: Callable[[str, str], None] | None) -> int:
    signals = _Signals()
    signals.install()
    async with AsyncExitStack() as stack:
        context, listener = await _start(settings, stack)
        _keep_program()
        engine = context.engine
        location = "nowhere: the event bus is switched off" if engine is None else engine.location
        _log.info("service.started", extra={"url": listener.url, "store": location})
        if context.buses and (warnings := context.bus.details()["warnings"]):
            _log.warning("engine.warning", extra={"detail": "; ".join(warnings)})
        if announce is not None:
            announce(listener.url, location)
        number = await signals.first
        _log.info("service.draining", extra={"signal": number.name})
        lame_duck_seconds = 0.0 if number is signal.SIGINT else settings.drain_lame_duck_seconds
        cut_before = listener.cut_responses
        is_whole = await _until(
            signals.second, _drain(context, listener, lame_duck_seconds), settings.drain_grace_seconds
        )
        if unfinished := listener.sending + listener.cut_responses - cut_before:
            is_whole = False
            _log.warning("service.responses_cut", extra={"responses": unfinished})
    _log.info("service.stopped", extra={"drained": is_whole})
    return EXIT_OK if is_whole else EXIT_CUT


async def _start(settings: Settings, stack: AsyncExitStack) -> tuple[Context, Listener]:
    """Take the port first: a mistake there is found before the store is touched."""
    bound = bind(settings)
    stack.callback(bound.close)
    context = await open_context(settings, stack)
    runner = web.AppRunner(build_app(context), access_log=None, shutdown_timeout=CLOSING_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    if runner.server is None:
        message = "aiohttp made no server"
        raise RuntimeError(message)
    runner.server.request_handler = PromptRoute(runner.server.request_handler, publish)
    listener = context.listener = Listener(bound, runner.server, settings, context.random)
    if context.engine is not None:
        context.replica = Replica(context, context.engine, context.replica_id)
        await context.replica.open(stack)
        context.watch = SubscriptionWatch(context)
        stack.push_async_callback(_cancelled, asyncio.create_task(context.watch.run(), name="watch subscriptions"))
    await listener.listen()
    stack.callback(listener.close)
    stack.push_async_callback(_cancelled, asyncio.create_task(listener.watch(), name="watch connections"))
    stack.push_async_callback(_cancelled, asyncio.create_task(context.streams.watch(), name="watch streams"))
    return context, listener


def _keep_program() -> None:
    """Take what was made to start out of the collector's sight: it stays, and each full look at it takes 10 ms."""
    gc.collect()
    gc.freeze()


async def _until(second: asyncio.Event, drain: Coroutine[None, None, None], grace_seconds: float) -> bool:
    """Run a drain to its end, the second signal or the end of the grace; return whether it came to its end."""
    draining = asyncio.create_task(drain, name="drain")
    cut = asyncio.create_task(second.wait(), name="second signal")
    await asyncio.wait({draining, cut}, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
    if is_whole := draining.done():
        draining.result()
    else:
        _log.warning("service.cut_short", extra={"reason": "second signal" if cut.done() else "grace period over"})
    for task in (draining, cut):
        await _cancelled(task)
    return is_whole


async def _drain(context: Context, listener: Listener, lame_duck_seconds: float) -> None:
    context.begin_drain()
    await asyncio.sleep(lame_duck_seconds)
    listener.close()
    if listener.close_idle():
        await asyncio.sleep(ARRIVAL_SECONDS)
    await context.requests_answered()
    await asyncio.gather(*[webhooks.finish() for webhooks in context.webhooks.values()])
    await asyncio.gather(*[bus.finish() for bus in context.buses.values()])
    context.streams.leave_all()
    await context.streams.left(CLOSING_SECONDS)
    await listener.sent()


async def _cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
