"""How entries, frames and answers are spelled: what goes in comes out, for every text that an event may hold."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.event_samples import acceptance, entry
from waooaw.events.engine.contract import Frame, Tip
from waooaw.events.engine.redis.layout import (
    Keys,
    read_answer,
    read_entry,
    read_epoch,
    read_frame,
    read_head,
    read_position,
    spell_entry,
)
from waooaw.events.event import Entry
from waooaw.events.position import END, Position, format_position, make_position

POSITIONS = st.integers(0, END).map(Position)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


def _frame(*parts: bytes, frame_format: int = 1) -> bytes:
    """Build a frame as the script does: a fixed array, whose last item is an array with 16 bits of length."""
    members = (frame_format, "00000000000000ff", 5, 3, 7, 0, 1_764_019_200_123_456)
    return (
        b"\x98"
        + b"".join(msgspec.msgpack.encode(member) for member in members)
        + b"\xdc"
        + struct.pack(">H", len(parts))
        + b"".join(parts)
    )


def _body(text: bytes) -> bytes:
    return b"\xc6" + struct.pack(">I", len(text)) + text


@given(source=TEXTS, correlationid=st.none() | TEXTS, data=TEXTS)
def test_an_entry_is_read_as_it_was_spelled(source: str, correlationid: str | None, data: str) -> None:
    """Type, source, conversation and bytes come back from the log as they were."""
    given_entry = Entry("task.created", source, "x", correlationid, data.encode(), id_given=False, time_given=False)
    header, body, identity = spell_entry(given_entry)

    found = read_entry([b"12-3", [b"h", header, b"b", body]])

    assert (found.position, found.type, found.source, found.correlationid, found.body) == (
        make_position(12, 3),
        "task.created",
        source,
        correlationid,
        data.encode(),
    )
    assert identity == b""


@given(POSITIONS)
def test_positions_are_stream_ids(position: Position) -> None:
    """A position is spelled as Redis spells the id of a stream's entry."""
    assert read_position(format_position(position).encode()) == position


def test_only_given_ids_are_looked_up() -> None:
    """An event whose id the bus filled in has no identity; one with its own id has 16 bytes, and a digest as long."""
    assert spell_entry(entry())[2] == b""
    assert len(spell_entry(entry(id="one"))[2]) == 32


def test_equal_content_has_one_digest_in_any_order() -> None:
    """JSON objects have no order, and white space is no content; a value's spelling is."""
    accept = acceptance().one
    one = accept(b'{"type":"t","source":"s","id":"1","subject":"x","data":{"a":1}}')
    other_order = accept(b'{"data":{"a":1}, "id":"1","source":"s","subject":"x","type":"t"}')
    other_value = accept(b'{"type":"t","source":"s","id":"1","subject":"x","data":{"a":1.0}}')

    assert spell_entry(one)[2] == spell_entry(other_order)[2]
    assert spell_entry(one)[2][:16] == spell_entry(other_value)[2][:16]
    assert spell_entry(one)[2] != spell_entry(other_value)[2]


def test_members_are_not_run_together() -> None:
    """Members whose names and values could be cut elsewhere have digests of their own."""
    one = entry(id="1", ab="c")
    other = entry(id="1", a="bc")

    assert spell_entry(one)[2] != spell_entry(other)[2]


def test_source_and_id_are_not_run_together() -> None:
    """``a`` + ``bc`` and ``ab`` + ``c`` are two identities."""
    assert spell_entry(entry(source="a", id="bc"))[2][:16] != spell_entry(entry(source="ab", id="c"))[2][:16]


def test_a_frame_is_read() -> None:
    """A frame names its epoch, what was before it, when it was accepted, and its events in a row."""
    header, body, _ = spell_entry(entry(data=1))

    frame = read_frame(_frame(header, _body(body), header, _body(b"{}")))

    assert isinstance(frame, Frame)
    assert (frame.epoch, frame.previous, frame.accepted_at) == (255, make_position(5, 3), 1_764_019_200.123456)
    assert [event.position for event in frame.events] == [make_position(7, 0), make_position(7, 1)]
    assert [event.body for event in frame.events] == [body, b"{}"]


def test_a_frame_without_a_large_body_is_a_tip() -> None:
    """Where a body was too large to travel, listeners are sent to the log, up to the frame's last event."""
    header, body, _ = spell_entry(entry())

    assert read_frame(_frame(header, _body(body), header, b"\xc0", header, _body(body))) == Tip(
        255, make_position(7, 2)
    )


@pytest.mark.parametrize("message", [b"", b"\xc0", b"{}", b"\x98\x01", _frame(b"\xc0", b"\xc0")[:-1]])
def test_what_is_no_frame_is_refused(message: bytes) -> None:
    """Anybody may publish on a channel: what is no frame raises an error that its reader expects."""
    with pytest.raises(msgspec.MsgspecError):
        read_frame(message)


def test_a_frame_of_a_later_format_is_refused() -> None:
    """What a newer replica spells otherwise is not misread: its reader goes to the log."""
    header, body, _ = spell_entry(entry())

    with pytest.raises(msgspec.MsgspecError):
        read_frame(_frame(header, _body(body), frame_format=2))


def test_an_answer_tells_repeats_and_refusals() -> None:
    """Entries that were not stored are named by their place, with the event that they repeat, or with the reason."""
    answer = read_answer(b"12-3 0d7-1,4r,5d12-4,7g")

    assert answer.first == make_position(12, 3)
    assert answer.exceptions == {0: make_position(7, 1), 4: "reused", 5: make_position(12, 4), 7: "gone"}
    assert read_answer(b"12-3 ").exceptions == {}


def test_a_head_is_read() -> None:
    """What a script says of a bus; an empty log has no first position."""
    said = [b"ff", b"9-1", b"2-0", b"", b"0", b"0", b"17", b"ff-0"]

    head = read_head(said)

    assert (head.epoch, head.last, head.trimmed_through, head.first) == (
        255,
        make_position(9, 1),
        make_position(2),
        None,
    )
    assert (head.cut_ms, head.routes_version) == (17, "ff-0")
    assert read_epoch(b"ff 9-1").after == make_position(9, 1)


def test_all_keys_of_a_bus_share_its_slot() -> None:
    """Every key carries the bus as its hash tag, and no two buses share a key."""
    keys, other = Keys("orders"), Keys("order")
    mine = {*keys.whole, keys.retention, keys.replicas, keys.live, keys.writer("w")}

    assert all(key.startswith("wowevent:{orders}:") for key in mine)
    assert len(mine) == 10
    assert mine.isdisjoint({*other.whole, other.retention, other.replicas, other.live, other.writer("w")})
