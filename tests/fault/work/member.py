"""Members in a process of their own, to be killed: ``python -m tests.fault.work.member URL PREFIX SIZE NAME…``.

``SIZE`` members of each subscription named. The journal of a subscription is ``PREFIX.NAME``: lines are written to it,
unbuffered, when a delivery comes, before it is settled, and when the answer came. The clock of the journal is the
machine's monotonic one, the same for all processes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from tests.fault.waiting import lasting
from tests.fault.work.decisions import decide
from waooaw.events import connect
from waooaw.events.errors import StaleTokenError, WowEventError

if TYPE_CHECKING:
    from waooaw.events.delivery import Delivery
    from waooaw.events.interface import Bus
    from waooaw.events.stream_message import StreamStatus
    from waooaw.events.subscription_interface import Consumer

CREDIT: Final = 20
HANDLING_SECONDS: Final = 0.002
NACK_SECONDS: Final = 0.05

_serials: Final = itertools.count()


class Journal:
    """Lines of words: time, member, what, serial of the delivery, event id, attempt, outcome.

    Each is one write, so a kill cuts between lines.
    """

    def __init__(self, file: int, member: str) -> None:
        self._file = file
        self._member = member

    def note(self, what: str, serial: int = 0, event_id: str = "-", attempt: int = 0, outcome: str = "-") -> None:
        """Write a line."""
        line = f"{time.monotonic():.6f} {self._member} {what} {serial} {event_id} {attempt} {outcome}\n"
        os.write(self._file, line.encode())

    def watch(self, status: StreamStatus) -> None:
        """Note that the connection stands, or broke: what was held then went back."""
        self.note("connected" if status.is_connected else "broke")


async def handle(consumer: Consumer, delivery: Delivery, journal: Journal) -> None:
    """Work on one delivery, and settle it."""
    event_id, serial, attempt = str(delivery.event.id), next(_serials), delivery.attempt
    journal.note("begin", serial, event_id, attempt)
    await lasting(HANDLING_SECONDS)
    decision = decide(event_id, attempt)
    journal.note("settle", serial, event_id, attempt, decision)
    try:
        match decision:
            case "ack":
                await consumer.ack(delivery)
            case "nack":
                await consumer.nack(delivery, reason="decided", delay_seconds=NACK_SECONDS)
            case "reject":
                await consumer.reject(delivery, reason="decided")
    except StaleTokenError:
        journal.note("stale", serial, event_id, attempt, decision)
    except WowEventError as error:
        journal.note("unknown", serial, event_id, attempt, error.code)
    else:
        journal.note("done", serial, event_id, attempt, decision)


async def work(bus: Bus, subscription: str, journal: Journal, member: str) -> None:
    """Consume until killed."""
    async with (
        bus.subscription(subscription).consume(credit=CREDIT, member=member, watch=journal.watch) as consumer,
        asyncio.TaskGroup() as handling,
    ):
        async for delivery in consumer:
            handling.create_task(handle(consumer, delivery, journal))


async def work_all(url: str, prefix: str, size: int, subscriptions: list[str]) -> None:
    """Be so many members of each subscription."""
    async with connect(url) as bus, asyncio.TaskGroup() as working:
        for subscription in subscriptions:
            file = os.open(f"{prefix}.{subscription}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for number in range(size):
                member = f"{os.path.basename(prefix)}.{number}"  # noqa: PTH119 - a prefix is no path yet
                working.create_task(work(bus, subscription, Journal(file, member), member))


if __name__ == "__main__":
    asyncio.run(work_all(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
