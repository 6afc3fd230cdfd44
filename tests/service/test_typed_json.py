"""Sentences that say what a body must be: the place once, and what is allowed there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from waooaw.events.errors import InvalidParameterError, UnknownParameterError
from waooaw.events.service.typed_json import decode_typed


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """An item of the shape that is read."""

    outcome: Literal["ack", "nack"]
    wait: Annotated[float, Meta(ge=0, le=2_592_000)] | None = None
    token: Annotated[str, Meta(min_length=1, max_length=200)] = "t"
    sure: bool = True


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """The shape that is read."""

    max: Annotated[int, Meta(ge=1, le=1000)] = 10
    least: Annotated[int, Meta(ge=1)] = 1
    names: Annotated[list[str], Meta(max_length=2)] = []
    items: list[Item] = []
    free: dict[str, int] = {}


DECODER = msgspec.json.Decoder(Shape)

WRONG: list[tuple[str, str, str]] = [
    ('{"max":1001}', "#/max", "max must be an integer from 1 to 1000"),
    ('{"max":"9"}', "#/max", "max must be an integer from 1 to 1000"),
    ('{"least":0}', "#/least", "least must be an integer from 1"),
    ('{"names":["a","b","c"]}', "#/names", "names must be an array of at most 2 items"),
    ('{"names":["a",1]}', "#/names/1", "names[1] must be a string"),
    ('{"items":[{"outcome":"done"}]}', "#/items/0/outcome", "outcome must be one of ack, nack"),
    ('{"items":[{"outcome":"ack","wait":-1}]}', "#/items/0/wait", "wait must be a number from 0 to 2592000 or null"),
    ('{"items":[{"outcome":"ack","token":""}]}', "#/items/0/token", "token must be a string of 1 to 200 characters"),
    ('{"items":[{"outcome":"ack","sure":1}]}', "#/items/0/sure", "sure must be true or false"),
    ('{"items":[{"outcome":"ack"},7]}', "#/items/1", "items[1] must be an object"),
    ('{"items":[{}]}', "#/items/0/outcome", "outcome is required"),
    ("[]", "#", "the body must be an object"),
    ('{"free":[]}', "#/free", "free: Expected object, got array"),
]


@pytest.mark.parametrize(("text", "pointer", "sentence"), WRONG)
def test_what_a_value_must_be(text: str, pointer: str, sentence: str) -> None:
    """The sentence names the member and what it can be; where it stands is the pointer."""
    with pytest.raises(InvalidParameterError) as refused:
        decode_typed(DECODER, text.encode())
    (violation,) = refused.value.errors
    assert (violation.pointer, violation.detail, refused.value.detail) == (pointer, sentence, sentence)


@pytest.mark.parametrize(
    ("text", "pointer", "known"),
    [
        ('{"mux":1}', "#/mux", "max, least, names, items, free"),
        ('{"items":[{"outcome":"ack","a/b":1}]}', "#/items/0/a~1b", "outcome, wait, token, sure"),
    ],
)
def test_what_is_not_known(text: str, pointer: str, known: str) -> None:
    """A member that is none comes with those that are."""
    with pytest.raises(UnknownParameterError) as refused:
        decode_typed(DECODER, text.encode())
    (violation,) = refused.value.errors
    assert violation.pointer == pointer
    assert violation.detail.endswith(f"; known here: {known}")


def test_a_value_by_itself() -> None:
    """A part that was taken out of a message is named by where it stood."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Annotated[int, Meta(le=1000)])
    with pytest.raises(InvalidParameterError) as refused:
        decode_typed(decoder, b"1001", pointer="#/credit")
    assert refused.value.detail == "credit must be an integer up to 1000"
