"""Events arrive in each mode so that the SDK of the CloudEvents project reads them as they were published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from tests.event_samples import entry
from tests.interoperability.github_events import LINES
from tests.webhooks.receivers import Request, receiving
from tests.webhooks.senders import SECRET, sending
from waooaw.events.event import StoredEvent
from waooaw.events.position import Position, make_position
from waooaw.events.push import PushDefinition, PushMode
from waooaw.events.webhooks.messages import Message, message_of

SENT: Final[list[dict[str, Any]]] = [json.loads(line) for line in LINES]


def stored(text: bytes, number: int = 0) -> StoredEvent:
    """Return an event as the log has it; the number makes its position."""
    return StoredEvent(make_position(1_000 + number), "t", "/s", None, text)


def accepted(number: int = 0, **members: object) -> StoredEvent:
    """Return an event as the bus accepts it."""
    return stored(entry(id="e1", time="2026-01-01T00:00:00Z", **members).body, number)


def message(mode: PushMode, *events: StoredEvent) -> Message:
    """Return the message of events in a mode."""
    return message_of(PushDefinition(url="https://agent.example/", mode=mode), "in", events)


def read(request: Request) -> Sequence[Any]:
    """Read a delivery as a receiver does that was built with the SDK, which has no batches of its own."""
    headers = dict(request.headers)
    if request.headers["Content-Type"].startswith("application/cloudevents-batch+json"):
        single = {"content-type": "application/cloudevents+json"}
        return [
            http.from_http_event(http.HTTPMessage(single, json.dumps(one).encode())) for one in json.loads(request.body)
        ]
    return [http.from_http_event(http.HTTPMessage(headers, request.body))]


@pytest.mark.parametrize(("mode", "size"), [("binary", 1), ("structured", 1), ("batch", 50)])
async def test_a_receiver_built_with_the_sdk_reads_real_events(mode: PushMode, size: int) -> None:
    """Real events, sent in each mode over a real connection, are read by the SDK as they were, and verify."""
    events = [stored(line, number) for number, line in enumerate(LINES)]
    async with receiving() as receiver, sending() as sender:
        push = PushDefinition(url=receiver.url, mode=mode, secret=(SECRET,))
        for start in range(0, len(events), size):
            reply = await sender.post(push, message_of(push, "in", events[start : start + size]))
            assert reply.status == 204

    found = [event for request in receiver.posts for event in read(request)]
    assert [event.get_data() for event in found] == [members["data"] for members in SENT]
    expected = [{name: value for name, value in members.items() if name != "data"} for members in SENT]
    assert [{n: v for n, v in event.get_attributes().items() if n != "time"} for event in found] == expected
    for request in receiver.posts:
        Webhook(SECRET).verify(request.body, dict(request.headers))


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("text/plain", "naïve ☃"),
        ("application/octet-stream", bytes(range(256))),
        ("application/json", {"ключ": "ценность"}),
    ],
)
@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_all_kinds_of_data_and_of_text_arrive(mode: PushMode, content_type: str, data: object) -> None:
    """Text, bytes and JSON, and attributes beyond ASCII, are what they were where the SDK reads them."""
    attributes = {
        "type": "note.taken",
        "source": "/agents/planner",
        "subject": 'says "100 %", naïvely ☃',
        "datacontenttype": content_type,
    }
    sent = http.to_structured_event(CloudEvent(attributes, data)).body  # type: ignore[arg-type]  # any kind that it takes
    async with receiving() as receiver, sending() as sender:
        push = PushDefinition(url=receiver.url, mode=mode)
        await sender.post(push, message_of(push, "in", [stored(sent)]))

    (event,) = read(receiver.posts[0])
    assert event.get_data() == data
    assert {name: event.get_attributes()[name] for name in attributes} == attributes


def test_binary_mode_has_attributes_in_headers_and_data_as_the_body() -> None:
    """Each attribute is a header, percent-encoded beyond ASCII; the content type is that of the data."""
    event = accepted(subject="ü", datacontenttype="application/json", flag=True, data={"a": 1})
    assert message("binary", event) == Message(
        "in.1000-0",
        {
            "ce-specversion": "1.0",
            "ce-id": "e1",
            "ce-type": "task.created",
            "ce-source": "agent/a",
            "ce-time": "2026-01-01T00:00:00Z",
            "ce-subject": "%C3%BC",
            "ce-flag": "true",
            "Content-Type": "application/json",
        },
        b'{"a":1}',
    )


def test_an_event_without_data_has_an_empty_body_in_binary_mode() -> None:
    """There is no body and no content type to speak of where there is no data."""
    made = message("binary", accepted())
    assert (made.body, "Content-Type" in made.headers) == (b"", False)


def test_structured_mode_sends_what_is_stored_to_the_byte() -> None:
    """The body is the stored event, and only the content type is said besides."""
    event = accepted(data=[1, {"b": "ü"}])
    made = message("structured", event)
    assert (made.body, made.headers) == (
        event.body,
        {"Content-Type": "application/cloudevents+json; charset=utf-8"},
    )


@pytest.mark.parametrize("count", [1, 2, 100])
def test_batch_mode_sends_an_array_of_what_is_stored(count: int) -> None:
    """The body is a JSON array of the stored events, in their order, also of one."""
    events = [accepted(number, data=number) for number in range(count)]
    made = message("batch", *events)
    assert made.headers == {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}
    assert made.body == b"[" + b",".join([event.body for event in events]) + b"]"


positions: Final = st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=100, unique=True)


def identified(incarnation: str, places: list[int]) -> str:
    """Return the id of the batch that has the events of some positions."""
    events = [StoredEvent(Position(place), "t", "/s", None, b"{}") for place in places]
    return message_of(PushDefinition(url="https://agent.example/", mode="batch"), incarnation, events).id


@given(places=positions)
def test_the_same_events_have_the_same_id(places: list[int]) -> None:
    """However often events are sent together, their message has one id, short enough for a header."""
    assert identified("in", places) == identified("in", list(places))
    assert len(identified("in", places)) < 64


@given(places=positions, others=positions)
def test_other_events_have_another_id(places: list[int], others: list[int]) -> None:
    """Messages of other events, and of another subscription, have other ids."""
    assert (identified("in", places) == identified("in", others)) == (places == others)
    assert identified("in", places) != identified("out", places)


@pytest.mark.parametrize("mode", ["binary", "structured", "batch"])
def test_one_event_has_the_same_id_in_every_mode(mode: PushMode) -> None:
    """An event that comes again alone after its batch failed, or in another mode, is named by its position."""
    assert message(mode, accepted(7)).id == message("batch", accepted(7)).id
