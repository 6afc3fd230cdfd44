"""``connect()``: publishing and reading mean the same in memory, in a file and over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.service_process import ServiceProcess
from waooaw.events import Event, Receipt, WowEventError, connect
from waooaw.events.cursor import Cursor, encode_cursor
from waooaw.events.errors import (
    ClosedError,
    IdReusedError,
    InvalidCursorError,
    InvalidEventError,
    InvalidParameterError,
    InvalidPatternError,
    InvalidSettingError,
    NotFoundError,
    TypeUnsupportedError,
)
from waooaw.events.position import Position, format_position, make_position
from waooaw.events.stream_message import Delivered, GapMessage


def unique_type() -> str:
    """Return an event type of this test alone: tests share a service."""
    return f"test.t{uuid4().hex}"


async def test_a_published_event_is_in_the_store_as_it_was_given(bus_url: str) -> None:
    """What was published is read back at the position of its receipt, attribute by attribute."""
    event = Event(
        type=unique_type(),
        source="/agents/a",
        id=uuid4().hex,
        time="2026-01-31T12:00:00Z",
        subject="Grüße",
        datacontenttype="application/json",
        dataschema="https://example.com/schema",
        extensions={"correlationid": "c", "flag": True, "count": -7},
        data={"text": "żółw 🐢", "list": [1, 2.5, None]},
    )
    async with connect(bus_url) as bus:
        receipt = await bus.publish(event)
        stored = await bus.get(receipt.position)

    assert stored.event == event
    assert (stored.type, stored.source, stored.correlationid) == (event.type, "/agents/a", "c")
    assert (receipt.id, receipt.duplicate) == (event.id, False)


async def test_binary_data_is_read_back_as_bytes(bus_url: str) -> None:
    """``bytes`` go through ``data_base64`` and come back as they were."""
    async with connect(bus_url) as bus:
        receipt = await bus.publish(Event(type=unique_type(), source="/a", data=bytes(range(256))))

        assert (await bus.get(receipt.position)).event.data == bytes(range(256))


async def test_an_event_without_id_gets_one(bus_url: str) -> None:
    """The receipt names the id, and the stored event has it."""
    async with connect(bus_url) as bus:
        receipt = await bus.publish(Event(type=unique_type(), source="/a"))

        assert (await bus.get(receipt.position)).event.id == receipt.id


async def test_the_same_event_again_is_a_duplicate(bus_url: str) -> None:
    """An event with an id is stored once; again, it answers the first position."""
    event = Event(type=unique_type(), source="/a", id=uuid4().hex)
    async with connect(bus_url) as bus:
        first = await bus.publish(event)
        second = await bus.publish(event)

    assert (second.position, second.duplicate) == (first.position, True)


async def test_an_id_with_other_content_is_refused(bus_url: str) -> None:
    """The same source and id with other data is `IdReusedError`."""
    event_type, event_id = unique_type(), uuid4().hex
    async with connect(bus_url) as bus:
        await bus.publish(Event(type=event_type, source="/a", id=event_id, data=1))

        with pytest.raises(IdReusedError):
            await bus.publish(Event(type=event_type, source="/a", id=event_id, data=2))


async def test_a_refusal_names_what_is_wrong(bus_url: str) -> None:
    """An invalid event raises its class, with a pointer to each attribute."""
    async with connect(bus_url) as bus:
        with pytest.raises(TypeUnsupportedError):
            await bus.publish(Event(type="with space", source="/a"))
        with pytest.raises(InvalidEventError) as caught:
            await bus.publish(Event(type="a", source="not a uri", extensions={"Upper": "x"}))

    assert {violation.pointer for violation in caught.value.errors} == {"#/source", "#/Upper"}


async def test_many_events_are_answered_in_order(bus_url: str) -> None:
    """More events than one batch takes get an answer each, refusals in their place, and positions that grow."""
    event_type = unique_type()
    events = [
        Event(type="bad type" if number % 500 == 7 else event_type, source="/a", data=number) for number in range(2300)
    ]
    async with connect(bus_url) as bus:
        answers = await bus.publish_many(events)

    refused = [number for number, answer in enumerate(answers) if isinstance(answer, WowEventError)]
    positions = [answer.position for answer in answers if isinstance(answer, Receipt)]
    assert refused == [7, 507, 1007, 1507, 2007]
    assert all(isinstance(answers[number], TypeUnsupportedError) for number in refused)
    assert len(positions) == 2295
    assert positions == sorted(set(positions))


async def test_no_events_are_no_answers(bus_url: str) -> None:
    """Publishing nothing is harmless."""
    async with connect(bus_url) as bus:
        assert await bus.publish_many([]) == []


async def test_a_batch_larger_than_a_body_is_cut(bus_url: str) -> None:
    """Sixty events of 200 kB are stored, though a service takes 8 MiB at once."""
    event_type = unique_type()
    events = [Event(type=event_type, source="/a", data="x" * 200_000) for _ in range(60)]
    async with connect(bus_url) as bus:
        answers = await bus.publish_many(events)

    assert [type(answer) for answer in answers] == [Receipt] * 60


async def test_reading_selects(bus_url: str) -> None:
    """Patterns, source, correlationid, range and order select what a page has."""
    kind = unique_type()
    async with connect(bus_url) as bus:
        receipts = [
            await bus.publish(Event(type=f"{kind}.a", source="/one", data=1)),
            await bus.publish(Event(type=f"{kind}.b", source="/one", data=2, extensions={"correlationid": kind})),
            await bus.publish(Event(type=f"{kind}.c", source="/two", data=3, extensions={"correlationid": kind})),
        ]

        async def data_of(*patterns: str, **wanted: str | Position | bool | None) -> list[int]:
            page = await bus.read(*patterns, **wanted)  # type: ignore[arg-type]  # the parameters of read
            assert page.is_end
            return [stored.event.data for stored in page.events]

        assert await data_of(f"{kind}.*") == [1, 2, 3]
        assert await data_of(f"{kind}.a", f"{kind}.[c]") == [1, 3]
        assert await data_of(f"{kind}.*", source="/one") == [1, 2]
        assert await data_of(correlationid=kind) == [2, 3]
        assert await data_of(f"{kind}.*", newest_first=True) == [3, 2, 1]
        assert await data_of(f"{kind}.*", start=receipts[1].position) == [2, 3]
        assert await data_of(f"{kind}.*", end=format_position(receipts[1].position)) == [1]
        assert await data_of(f"{kind}.*", start="now") == []


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_go_on_where_the_last_one_ended(bus_url: str, newest_first: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    """Following ``next`` gives every event once, in order, and says where the end is."""
    event_type = unique_type()
    async with connect(bus_url) as bus:
        first, *_ = await bus.publish_many([Event(type=event_type, source="/a", data=number) for number in range(25)])
        assert isinstance(first, Receipt)
        start, end = format_position(first.position), "now"
        seen: list[int] = []
        for _ in range(10):
            page = await bus.read(event_type, start=start, end=end, newest_first=newest_first, limit=10)
            seen += [stored.event.data for stored in page.events]
            if page.is_end:
                break
            start, end = (start, page.next) if newest_first else (page.next, end)

    assert seen == sorted(range(25), reverse=newest_first)


async def test_a_foreign_cursor_has_a_gap(bus_url: str) -> None:
    """A page from a cursor of an unknown history tells the gap, and has what the log has."""
    event_type = unique_type()
    async with connect(bus_url) as bus:
        receipt = await bus.publish(Event(type=event_type, source="/a"))
        token = encode_cursor("default", Cursor(4711, make_position(receipt.position >> 20)))
        page = await bus.read(event_type, start=token)

    assert isinstance(page.gap, GapMessage)
    assert (page.gap.start, page.gap.reason) == (token, "epoch")
    assert [stored.position for stored in page.events] == [receipt.position]


async def test_what_is_malformed_is_refused_alike(bus_url: str) -> None:
    """Each bad parameter of a read raises the same class everywhere."""
    async with connect(bus_url) as bus:
        with pytest.raises(InvalidPatternError):
            await bus.read("a[b")
        with pytest.raises(InvalidCursorError):
            await bus.read(start="nonsense")
        with pytest.raises(InvalidParameterError):
            await bus.read(limit=0)
        with pytest.raises(InvalidParameterError):
            await bus.read(limit=1001)
        with pytest.raises(InvalidParameterError):
            await bus.get("nonsense")
        with pytest.raises(NotFoundError):
            await bus.get(make_position(4_000_000_000_000))


async def test_the_log_says_where_it_stands(bus_url: str) -> None:
    """The log's cursor is now: nothing lies after it, and what comes next does."""
    event_type = unique_type()
    async with connect(bus_url) as bus:
        before = await bus.publish(Event(type=event_type, source="/a"))
        log = await bus.log()
        assert (await bus.read(event_type, start=log.cursor)).events == ()
        after = await bus.publish(Event(type=event_type, source="/a"))
        page = await bus.read(event_type, start=log.cursor)
        later = await bus.log()

    assert log.last == before.position
    assert log.first is not None
    assert log.first <= before.position
    assert [stored.position for stored in page.events] == [after.position]
    assert (later.events, later.epoch) == (log.events + 1, log.epoch)
    assert later.size_bytes > log.size_bytes
    assert log.retention.max_age_seconds == 7 * 86_400


async def test_a_bus_that_is_well_says_so(bus_url: str) -> None:
    """Health has exactly three members, and details add the engine."""
    async with connect(bus_url) as bus:
        health = await bus.health()
        details = await bus.health(details=True)

    assert health == {"status": "healthy", "redis": "not_configured", "event_bus": "running"}
    assert details["engine"]["durability"] == ("memory" if bus_url == "memory://" else "fsync")
    assert isinstance(details["warnings"], list)


async def test_a_bus_works_inside_async_with_alone(bus_url: str) -> None:
    """Before entering and after leaving, every call is `ClosedError`."""
    bus = connect(bus_url)
    event = Event(type="a", source="/a")
    with pytest.raises(ClosedError):
        await bus.publish(event)
    async with bus:
        await bus.log()
    with pytest.raises(ClosedError):
        await bus.publish(event)
    with pytest.raises(ClosedError):
        await bus.read()


async def test_a_file_keeps_its_events(tmp_path: object) -> None:
    """A bus in a file has its events when it is opened again; one in memory has not."""
    url = f"sqlite:///{tmp_path}/kept.db"
    async with connect(url) as bus:
        receipt = await bus.publish(Event(type="a", source="/a", data=1))
    async with connect(url) as bus:
        assert (await bus.get(receipt.position)).event.data == 1


@pytest.mark.parametrize(
    "url",
    [
        "reds://:secret@localhost",
        "redis://",
        "localhost:8080",
        "",
        "http://",
        "http://host/?x=1",
        "sqlite://",
        "memory://x",
        "ftp://x",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """What is no address is told before anything is connected."""
    with pytest.raises(InvalidSettingError):
        connect(url)


@pytest.mark.parametrize("url", ["memory://", "http://127.0.0.1:1"])
@pytest.mark.parametrize("name", ["", "Orders", "a/b", "-a", "a" * 64])
def test_a_name_that_no_bus_can_have_is_refused(url: str, name: str) -> None:
    """What is no name of a bus is told before anything is connected."""
    with pytest.raises(InvalidSettingError):
        connect(url, bus=name)


@pytest.mark.parametrize("kind", ["sqlite", "http"])
async def test_a_bus_by_its_name(kind: str, tmp_path: Path) -> None:
    """Each bus of a store has its own events: published, read, got and streamed under its name."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/buses.db"
        if kind == "http":
            service = ServiceProcess(tmp_path, {"WOWEVENT_BUSES": "default,orders"})
            url = (await asyncio.to_thread(stack.enter_context, service)).url
        async with connect(url) as bus:
            await bus.publish(Event(type="a.short", source="/a"))
        async with connect(url, bus="orders") as orders:
            receipt = await orders.publish(Event(type="a.named", source="/a"))
            await orders.publish_many([Event(type="a.more", source="/a")])
            page = await orders.read()
            got = await orders.get(receipt.position)
            log = await orders.log()
            streamed = []
            async with orders.stream(start="earliest") as stream:
                async for message in stream:
                    assert isinstance(message, Delivered)
                    streamed.append(message.type)
                    if len(streamed) == 2:
                        break
        async with connect(url) as bus:
            alone = await bus.read()

    assert [event.type for event in page.events] == streamed == ["a.named", "a.more"]
    assert (got.type, log.events) == ("a.named", 2)
    assert [event.type for event in alone.events] == ["a.short"]


async def test_a_bus_that_is_not_served(shared_service: ServiceProcess) -> None:
    """The error names the buses that there are; it is not worth another try."""
    async with connect(shared_service.url, bus="nobody") as bus:
        with pytest.raises(NotFoundError, match="default"):
            await bus.publish(Event(type="a", source="/a"))
        with pytest.raises(NotFoundError, match="default"):
            await anext(bus.stream())
