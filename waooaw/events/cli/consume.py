"""``wowevent consume``: be a member of a durable subscription, with a command for each event."""

from __future__ import annotations

import asyncio
import shutil
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from waooaw.events.cli.commands import complain
from waooaw.events.cli.connection_teller import ConnectionTeller
from waooaw.events.cli.service_address import PUBLISHING_PATIENCE_SECONDS, bus_option, reached, url_option
from waooaw.events.delivery import CLAIM_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from waooaw.events.cli.event_process import EventProcess
    from waooaw.events.client.http_bus import HttpBus
    from waooaw.events.delivery import Delivery
    from waooaw.events.errors import WowEventError
    from waooaw.events.event import StoredEvent

    Handler = Callable[[Delivery], Awaitable[None]]

PRINTED_AT_ONCE: Final = 100
"""Events that are printed before their acks are stored: a reader at a terminal waits for no network."""

HELP: Final = """Run a COMMAND for each event of the subscription NAME; without one, print events and ack them.

\b
  wowevent consume invoices --concurrency 4 -- ./book.sh --verbose
  wowevent consume invoices --count 1

The command gets the event in JSON on standard input, its attributes as CE_ID, CE_TYPE and so on, and CE_POSITION and
CE_ATTEMPT. No shell is between. Exit code 0 acks the event, 65 rejects it (to the dead letters at once), any other one,
a signal and a time-out let it be tried again; the last line of standard error is the reason that people see.

Ctrl-C or SIGTERM: no new events, running commands are waited for, the rest is given back; a second one kills them. Then
it exits 0. Exits 1 where there is no such subscription, 2 where called wrongly, 3 where no service answers at first.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """How to consume."""

    name: str
    member: str
    credit: int | None
    concurrency: int
    count: int | None


@click.command("consume", help=HELP)
@click.argument("name", metavar="NAME")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARG]...]")
@click.option(
    "--credit",
    type=click.IntRange(min=1, max=CLAIM_MAX),
    help="Events held at a time; twice the concurrency without it.",
)
@click.option(
    "--concurrency", type=click.IntRange(min=1, max=CLAIM_MAX), default=1, show_default=True, help="Commands at once."
)
@click.option("--member", default="", metavar="NAME", help="The name by which sub show knows this member.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End a command that takes longer, and let its event be tried again.",
)
@click.option("--json", "as_json", is_flag=True, help="Without COMMAND: print each event whole, as a line of JSON.")
@bus_option
@url_option
def command(
    *,
    arguments: tuple[str, ...],
    timeout: float | None,
    as_json: bool,
    url: str,
    bus: str,
    **options: Any,  # noqa: ANN401 - options of several types, by the names of a membership
) -> None:
    """Consume; see `HELP`."""
    if not arguments and timeout is not None:
        raise click.UsageError("--timeout is for a COMMAND: wowevent consume NAME --timeout 10 -- COMMAND")
    if arguments and as_json:
        raise click.UsageError("--json is for printing; a COMMAND gets each event in JSON on its standard input")
    if arguments and shutil.which(arguments[0]) is None:
        raise click.BadParameter(
            f"{arguments[0]}: there is no such command, or it may not be run", param_hint="COMMAND"
        )
    asyncio.run(
        _consume(
            url,
            bus,
            Membership(**options),
            _Running(arguments, timeout) if arguments else _Printing(as_json=as_json),
        )
    )


async def _consume(url: str, bus_name: str, membership: Membership, work: _Running | _Printing) -> None:
    async with reached(url, bus_name, patience_seconds=PUBLISHING_PATIENCE_SECONDS) as bus:
        await _work(bus, membership, work)
    if isinstance(work, _Printing) and work.is_broken:
        raise BrokenPipeError


async def _work(bus: HttpBus, membership: Membership, work: _Running | _Printing) -> None:
    from waooaw.events.handling import CREDIT_PER_HANDLER, handle

    concurrency = max(membership.concurrency, work.concurrency)
    credit = membership.credit or min(concurrency * CREDIT_PER_HANDLER, membership.count or CLAIM_MAX, CLAIM_MAX)
    watch = ConnectionTeller(bus.url, "with new events; what was held comes again").tell
    loop = asyncio.get_running_loop()
    entering = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.interrupt, entering)
    consumer = bus.subscription(membership.name).consume(credit=credit, member=membership.member, watch=watch)
    try:
        async with consumer:
            work.has_begun = True
            await handle(
                consumer,
                work.handler(),
                concurrency=concurrency,
                limit=membership.count,
                stop=work.stop,
                unsettled=_tell_unsettled,
            )
    except asyncio.CancelledError:
        if not work.stop.is_set():
            raise


def _tell_unsettled(delivery: Delivery, error: WowEventError) -> None:
    from waooaw.events.position import format_position

    complain(f"{format_position(delivery.stored.position)} can come again: {error.detail}")


@dataclass(slots=True)
class _Work:
    """What is done with events, and its end."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: bool = False
    concurrency: int = 1

    def interrupt(self, entering: asyncio.Task[None] | None) -> None:
        """Take a signal: begin to end; before it has begun, end."""
        if self.stop.is_set():
            self.hurry()
            return
        self.stop.set()
        if not self.has_begun and entering is not None:
            entering.cancel()
        self.tell_stop()

    def tell_stop(self) -> None:
        """Tell a person what is waited for."""

    def hurry(self) -> None:
        """End what is waited for."""


class _Running(_Work):
    """Runs a command for each event."""

    def __init__(self, arguments: tuple[str, ...], timeout_seconds: float | None) -> None:
        from waooaw.events.cli.event_process import EventProcess

        super().__init__()
        self._process: EventProcess = EventProcess(arguments, timeout_seconds)

    def handler(self) -> Handler:
        """Return what takes an event."""
        return self._process.run

    def tell_stop(self) -> None:
        """Tell how many commands run."""
        if self._process.running:
            complain(f"waiting for {self._process.running} running; once more to kill them")

    def hurry(self) -> None:
        """Kill them."""
        self._process.kill_all()


class _Printing(_Work):
    """Prints events."""

    def __init__(self, *, as_json: bool) -> None:
        from waooaw.events.cli.tail import person_writer, write_json

        super().__init__(concurrency=PRINTED_AT_ONCE)
        self._write: Callable[[StoredEvent], None] = write_json if as_json else person_writer()
        self.is_broken = False

    def handler(self) -> Handler:
        """Return what takes an event."""
        return self._print

    async def _print(self, delivery: Delivery) -> None:
        """Print an event. Where nobody reads any more, it is given back and no further one is taken."""
        from waooaw.events.handling import ReleaseError

        message = "nobody reads any more"
        if self.is_broken:
            raise ReleaseError(message)
        try:
            self._write(delivery.stored)
        except BrokenPipeError:
            self.is_broken = True
            self.stop.set()
            raise ReleaseError(message) from None
