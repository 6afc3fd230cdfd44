"""A member in a process of its own, to be killed: ``python -m tests.fault.work.member URL SUBSCRIPTION NAME JOURNAL``.

It writes a line to its journal, unbuffered, when a delivery comes, before it is settled, and when the answer came. The
clock of the journal is the machine's monotonic one, the same for all processes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from tests.fault.work.decisions import decide
from waooaw.events import connect
from waooaw.events.errors import StaleTokenError, WowEventError

if TYPE_CHECKING:
    from waooaw.events.delivery import Delivery
    from waooaw.events.stream_message import StreamStatus
    from waooaw.events.subscription_interface import Consumer

CREDIT: Final = 20
HANDLING_SECONDS: Final = 0.002


class Journal:
    """Lines of words: time, what, event id, attempt, outcome. Each is one write, so a kill cuts between lines."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, event_id: str = "-", attempt: int = 0, outcome: str = "-") -> None:
        """Write a line."""
        os.write(self._file, f"{time.monotonic():.6f} {what} {event_id} {attempt} {outcome}\n".encode())

    def watch(self, status: StreamStatus) -> None:
        """Note that the connection stands, or broke: what was held then went back."""
        self.note("connected" if status.is_connected else "broke")


async def handle(consumer: Consumer, delivery: Delivery, journal: Journal) -> None:
    """Work on one delivery, and settle it."""
    event_id = str(delivery.event.id)
    journal.note("begin", event_id, delivery.attempt)
    await asyncio.sleep(HANDLING_SECONDS)
    decision = decide(event_id, delivery.attempt)
    journal.note("settle", event_id, delivery.attempt, decision)
    try:
        match decision:
            case "ack":
                await consumer.ack(delivery)
            case "nack":
                await consumer.nack(delivery, reason="decided", delay_seconds=0.05)
            case "reject":
                await consumer.reject(delivery, reason="decided")
    except StaleTokenError:
        journal.note("stale", event_id, delivery.attempt, decision)
    except WowEventError as error:
        journal.note("unknown", event_id, delivery.attempt, error.code)
    else:
        journal.note("done", event_id, delivery.attempt, decision)


async def work(url: str, subscription: str, name: str, journal: Journal) -> None:
    """Consume until killed."""
    async with (
        connect(url) as bus,
        bus.subscription(subscription).consume(credit=CREDIT, member=name, watch=journal.watch) as consumer,
        asyncio.TaskGroup() as handling,
    ):
        async for delivery in consumer:
            handling.create_task(handle(consumer, delivery, journal))


if __name__ == "__main__":
    url, subscription, name, path = sys.argv[1:]
    asyncio.run(work(url, subscription, name, Journal(path)))
