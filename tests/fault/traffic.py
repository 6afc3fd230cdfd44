"""The events of the fault runs, made from their key alone: one sent again is the same, and one read is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tests.fault.checker import Stored
from tests.fault.history import Key
from waooaw.events.position import parse_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fault.history import History

TYPES: Final = ("fault.a", "fault.b", "fault.c")
UNKNOWN: Final = "unknown"


def event_type(key: Key) -> str:
    """Return the type of an event: each source takes all of them in turn."""
    return TYPES[key.number % len(TYPES)]


def content(key: Key, size: int = 64) -> str:
    """Return the data of an event: text that no other event has."""
    digest = hashlib.blake2b(f"{key.source}/{key.id}".encode(), digest_size=32).hexdigest()
    return (digest * (size // len(digest) + 1))[:size]


def event_json(key: Key, text: str) -> bytes:
    """Return an event in structured form, without a time, so that repeats are equal."""
    members = {"id": key.id, "source": key.source, "type": event_type(key), "specversion": "1.0", "data": text}
    return msgspec.json.encode(members)


def key_of(event: Mapping[str, Any]) -> Key:
    """Return the key of an event that was read."""
    return Key(event["source"], int(event["id"]))


def stored_of(item: Mapping[str, Any]) -> Stored:
    """Return an item of a page of the store."""
    event = item["event"]
    return Stored(parse_position(item["position"]), key_of(event), event["data"], event["type"])


def settle(history: History, key: Key, answer: Mapping[str, Any]) -> None:
    """Write down a receipt, a result of a batch, or a problem."""
    if "position" in answer:
        history.accept(key, parse_position(answer["position"]), duplicate=answer["duplicate"])
    elif answer.get("outcome") == UNKNOWN:
        history.lose(key, answer["code"])
    else:
        history.refuse(key, answer["code"])


def settle_all(history: History, keys: Sequence[Key], answer: Mapping[str, Any]) -> None:
    """Write down the answer to a batch: a result for each event, or one problem for all of them."""
    results = answer.get("results")
    for index, key in enumerate(keys):
        settle(history, key, answer if results is None else results[index])
