"""The event stream parser: WHATWG HTML section 9.2.6, whatever the chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.client import server_sent_events
from waooaw.events.client.server_sent_events import ServerSentEvent, ServerSentEventParser
from waooaw.events.outages import UnavailableError

STREAM = (
    b"retry: 2500\nid: c0\n\n"
    b'id: c1\ndata: {"a":1}\n\n'
    b": ping\nid: c2\n\n"
    b"event: gap\nid: c3\ndata: {}\n\n"
    b"data: one\ndata:two\r\n\r\n"
    b"unknown: x\ndata\n\n"
    b"id: c4\ndata: unfinished"
)
MESSAGES = [
    ServerSentEvent("", "c1", b'{"a":1}'),
    ServerSentEvent("gap", "c3", b"{}"),
    ServerSentEvent("", "c3", b"one\ntwo"),
    ServerSentEvent("", "c3", b""),
]


def test_messages_end_with_an_empty_line() -> None:
    """Names, ids and data are read; comments and unknown fields are passed over; what is unfinished does not count."""
    parser = ServerSentEventParser()

    assert parser.feed(STREAM) == MESSAGES
    assert (parser.last_id, parser.retry_seconds) == ("c3", 2.5)


@given(st.lists(st.integers(0, len(STREAM))))
def test_chunks_do_not_matter(cuts: list[int]) -> None:
    """However the stream is cut, the same messages come out."""
    parser = ServerSentEventParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [message for begin, end in pairwise(edges) for message in parser.feed(STREAM[begin:end])]

    assert found == MESSAGES
    assert (parser.last_id, parser.retry_seconds) == ("c3", 2.5)


def test_an_id_counts_without_data() -> None:
    """A ping moves the place to go on from, though it is no message."""
    parser = ServerSentEventParser()

    assert parser.feed(b": ping\nid: here\n\n") == []
    assert parser.last_id == "here"


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never ends a line does not fill the memory."""
    monkeypatch.setattr(server_sent_events, "LINE_BYTES_MAX", 100)
    parser = ServerSentEventParser()
    parser.feed(b"data: " + b"x" * 90)

    with pytest.raises(UnavailableError):
        parser.feed(b"x" * 90)
