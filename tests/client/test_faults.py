"""The client through failures: lost answers, services that are away, restarts in the middle of everything."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest

from tests.client.faulty_proxy import FaultyProxy, http_answer
from tests.redis_servers.port import unused_port
from tests.service_process import ServiceProcess
from waooaw.events import Delivered, Event, GapMessage, Receipt, WowEventError, connect
from waooaw.events.errors import InvalidEventError
from waooaw.events.outages import StorageFullError, UnavailableError
from waooaw.events.stream_message import StreamStatus

PROBLEM = {"Content_Type": "application/problem+json"}


def unavailable(retry_after: str = "0") -> bytes:
    """Return the answer of a service that cannot store now."""
    members = {"code": "storage_full", "detail": "the disk is full", "status": 503, "outcome": "not_stored"}
    return http_answer("503 Service Unavailable", json.dumps(members).encode(), Retry_After=retry_after, **PROBLEM)


def unique_type() -> str:
    """Return an event type of this test alone: tests share a service."""
    return f"test.t{uuid4().hex}"


async def test_a_lost_answer_is_no_second_event(shared_service: ServiceProcess) -> None:
    """A publish whose answer was lost is repeated under its id: one event, and a receipt."""
    event_type = unique_type()
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        proxy.faults.extend(["lose_reply", "lose_reply"])
        receipt = await bus.publish(Event(type=event_type, source="/a"))
        page = await bus.read(event_type)

    assert receipt.duplicate
    assert [stored.position for stored in page.events] == [receipt.position]


async def test_a_batch_whose_answer_was_lost_is_stored_once(shared_service: ServiceProcess) -> None:
    """Every event of a repeated batch is in the log once, in order, and has its receipt."""
    event_type = unique_type()
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        proxy.faults.append("lose_reply")
        answers = await bus.publish_many([Event(type=event_type, source="/a", data=number) for number in range(1500)])
        first = await bus.read(event_type, limit=1000)
        second = await bus.read(event_type, start=first.next, limit=1000)

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert [stored.event.data for stored in (*first.events, *second.events)] == list(range(1500))


async def test_a_refused_connection_and_a_busy_service_are_tried_again(shared_service: ServiceProcess) -> None:
    """503 with ``Retry-After`` and a proxy's 502 are repeated until the service takes the event."""
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        proxy.faults.extend([unavailable(), http_answer("502 Bad Gateway", b"<html>"), unavailable()])
        receipt = await bus.publish(Event(type="a", source="/a"))

    assert not receipt.duplicate
    assert proxy.connections == 4


async def test_a_wait_longer_than_the_patience_is_not_begun(shared_service: ServiceProcess) -> None:
    """Where the service asks for more time than the caller has, the error comes at once, with its class."""
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url, patience_seconds=5) as bus:
        proxy.faults.append(unavailable("3600"))
        with pytest.raises(StorageFullError) as caught:
            await asyncio.wait_for(bus.publish(Event(type="a", source="/a")), 4)

    assert (caught.value.retry_after_seconds, caught.value.outcome) == (3600, "not_stored")
    assert proxy.connections == 1


async def test_a_refusal_is_not_tried_again(shared_service: ServiceProcess) -> None:
    """What the caller must change is told after one try."""
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        with pytest.raises(InvalidEventError):
            await bus.publish(Event(type="a", source="no uri"))

    assert proxy.connections == 1


async def test_a_service_that_is_not_there_is_told_with_what_to_do() -> None:
    """The error names the address and the command that starts a service, once the patience is over."""
    url = f"http://127.0.0.1:{unused_port()}"
    async with connect(url, patience_seconds=0.3) as bus:
        with pytest.raises(UnavailableError, match="wowevent serve") as caught:
            await bus.publish(Event(type="a", source="/a"))
        answers = await bus.publish_many([Event(type="a", source="/a")] * 3)

    assert url in str(caught.value)
    assert caught.value.outcome == "not_stored"
    assert [type(answer) for answer in answers] == [UnavailableError] * 3


async def test_what_is_no_bus_is_told(shared_service: ServiceProcess) -> None:
    """An answer that no bus gives raises one of our errors that asks for the address."""
    page = http_answer("200 OK", b"<html>hello</html>", Content_Type="text/html")
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        proxy.faults.extend([page] * 4 + [http_answer("404 Not Found", b"nothing here")])
        for call in (bus.read, bus.log, bus.health, lambda: bus.publish(Event(type="a", source="/a")), bus.read):
            with pytest.raises(WowEventError, match="address of the service"):
                await call()


async def test_a_cut_stream_goes_on_where_it_was(shared_service: ServiceProcess) -> None:
    """Connections cut at any point give each event once, and the watcher is told of each loss and each return."""
    event_type = unique_type()
    told: list[StreamStatus] = []
    async with (
        FaultyProxy(shared_service.url) as proxy,
        connect(shared_service.url) as bus,
        connect(proxy.url) as far,
        far.stream(event_type, watch=told.append) as stream,
    ):
        taken: list[int] = []
        for begin in range(0, 900, 300):
            if begin:
                proxy.cut()
            await bus.publish_many(
                [Event(type=event_type, source="/a", data=number) for number in range(begin, begin + 300)]
            )
            while len(taken) < begin + 300:
                message = await anext(stream)
                assert isinstance(message, Delivered)
                taken.append(message.event.data)

    assert taken == list(range(900))
    assert [status.is_connected for status in told] == [True, False, True, False, True]
    assert all(status.wait_seconds > 0 for status in told if not status.is_connected)


async def test_a_stream_waits_for_a_service_that_is_away() -> None:
    """A stream that is entered before its service runs gets what comes once it does; closing it ends the wait."""
    async with connect(f"http://127.0.0.1:{unused_port()}") as bus:
        told: list[StreamStatus] = []
        failed = asyncio.Event()

        def watch(status: StreamStatus) -> None:
            told.append(status)
            failed.set()

        stream = bus.stream("a", watch=watch)
        async with asyncio.TaskGroup() as group:
            entering = group.create_task(stream.__aenter__())
            await failed.wait()
            assert not entering.done()
            await stream.close()

    assert isinstance(told[0].problem, UnavailableError)


async def test_kill_and_restart_under_publishers_and_a_stream(own_service: ServiceProcess) -> None:
    """With the service killed twice: what has a receipt is in the stream once, in order, without a gap."""
    event_type = unique_type()
    numbers = 1200
    reached = {at: asyncio.Event() for at in (numbers // 3, 2 * numbers // 3)}
    async with connect(own_service.url) as bus, bus.stream(event_type) as stream:

        async def publish() -> list[int]:
            positions: list[int] = []
            for number in range(numbers):
                receipt = await bus.publish(Event(type=event_type, source="/a", id=str(number), data=number))
                positions.append(receipt.position)
                if number in reached:
                    reached[number].set()
            return positions

        async def restart() -> None:
            for there in reached.values():
                await there.wait()
                await asyncio.to_thread(own_service.restart)

        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publish())
            restarting = group.create_task(restart())
            taken: list[Delivered] = []
            while len(taken) < numbers:
                message = await anext(stream)
                assert not isinstance(message, GapMessage)
                taken.append(message)
            await restarting
        last = await bus.log()

    assert [message.event.data for message in taken] == list(range(numbers))
    assert [message.position for message in taken] == publishing.result()
    assert last.events == numbers
