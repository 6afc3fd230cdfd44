"""Delivery tokens, and what a delivery shows of its event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.event_samples import event_json
from waooaw.events.delivery import TOKEN_LENGTH_MAX, Delivery, DeliveryToken
from waooaw.events.errors import InvalidParameterError
from waooaw.events.event import StoredEvent
from waooaw.events.position import END, Position, format_position

WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=24)
REFERENCES = st.builds(
    lambda position, copy: format_position(Position(position)) + copy,
    st.integers(1, END),
    st.just("") | st.integers(1, 10**12).map(lambda number: f"~{number}"),
)


@given(st.builds(DeliveryToken, WORDS, REFERENCES, WORDS))
def test_a_token_comes_back_as_it_was(token: DeliveryToken) -> None:
    """Every token that a delivery can have is read back whole."""
    assert DeliveryToken.parse(str(token)) == token


GOOD = "0123456789abcdef.1764019200123-0~1.nonce"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b.c",
        "0123456789abcdef.1764019200123-0",
        "0123456789abcdef.1764019200123-0.",
        ".1764019200123-0.nonce",
        "0123456789abcdef.1764019200123-0~.nonce",
        "0123456789abcdef.1764019200123-.nonce",
        f"{GOOD}.more",
        f"{GOOD} ",
        f"{GOOD}\n",
        f"{GOOD}\x00",
        f" {GOOD}",
        GOOD.replace("1", "\u0661"),
        f"{GOOD}é",
        GOOD + "x" * TOKEN_LENGTH_MAX,
    ],
)
def test_what_no_delivery_had_is_refused(text: str) -> None:
    """A text of another form is no token: it goes no further, and the error says where it stood."""
    with pytest.raises(InvalidParameterError) as refused:
        DeliveryToken.parse(text, pointer="#/outcomes/3/token")

    (violation,) = refused.value.errors
    assert violation.pointer == "#/outcomes/3/token"
    assert len(refused.value.detail) < 400


def test_a_delivery_shows_its_event() -> None:
    """The event of a delivery is the one that the log has."""
    stored = StoredEvent(Position(1), "task.created", "agent/a", None, event_json(specversion="1.0", id="1", data=7))
    delivery = Delivery(token=GOOD, stored=stored, attempt=1, first_delivery_ms=1, last_error=None, lease_seconds=30.0)

    assert (delivery.event.id, delivery.event.data, delivery.replay) == ("1", 7, False)
