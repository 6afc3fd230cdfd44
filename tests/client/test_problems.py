"""Errors over the wire: what the service answers becomes the class that it raised."""

from __future__ import annotations

import json

import pytest

from waooaw.events.client.problem import error_of_answer, error_of_members
from waooaw.events.error_table import ERRORS
from waooaw.events.errors import (
    ConfirmationRequiredError,
    NotAvailableError,
    NotAvailableFieldError,
    RoutesChangedError,
    Violation,
    WowEventError,
)
from waooaw.events.outages import UnavailableError
from waooaw.events.service.problems import problem

URL = "http://bus"


@pytest.mark.parametrize(
    "kind", [kind for kind in ERRORS if kind not in {RoutesChangedError, ConfirmationRequiredError}]
)
def test_every_error_comes_back_as_its_class(kind: type[WowEventError]) -> None:
    """Class, detail, violations and the wait survive the way over the wire."""
    raised = kind("a sentence", errors=(Violation("#/a", "is wrong", "wrong"),), retry_after_seconds=7)
    body = json.dumps(problem(raised)).encode()

    error = error_of_answer(URL, kind.status, {"Retry-After": "7"}, body)

    assert type(error) is kind
    assert (error.detail, error.errors, error.retry_after_seconds) == ("a sentence", raised.errors, 7)


def test_a_confirmation_carries_its_token() -> None:
    """What has to be confirmed comes back with its count and its token."""
    body = b'{"code":"confirmation_required","status":409,"detail":"x","count":3,"confirm":"t"}'

    error = error_of_answer(URL, 409, {}, body)

    assert isinstance(error, ConfirmationRequiredError)
    assert (error.detail, error.count, error.confirm) == ("x", 3, "t")


def test_one_code_can_be_of_a_field_and_of_a_route() -> None:
    """The status tells the two kinds of *not available* apart."""
    body = b'{"code":"not_available","detail":"x"}'

    assert type(error_of_answer(URL, 400, {}, body)) is NotAvailableFieldError
    assert type(error_of_answer(URL, 404, {}, body)) is NotAvailableError


def test_the_outcome_of_a_publish_is_kept() -> None:
    """Whether the event can be in the log all the same is told; what is no outcome is not believed."""
    unknown = error_of_answer(URL, 503, {}, b'{"code":"unavailable","detail":"x","outcome":"unknown"}')
    odd = error_of_answer(URL, 503, {}, b'{"code":"unavailable","detail":"x","outcome":["?"]}')

    assert isinstance(unknown, UnavailableError)
    assert unknown.outcome == "unknown"
    assert isinstance(odd, UnavailableError)
    assert odd.outcome == "not_stored"


@pytest.mark.parametrize(
    ("status", "body", "retryable"),
    [
        (503, b'{"code":"new_reason","detail":"x"}', True),
        (422, b'{"code":"new_reason","detail":"x"}', False),
        (502, b"<html>", True),
        (504, b"", True),
        (403, b"forbidden", False),
        (200, b"[]", False),
        (500, b'{"code":7}', False),
    ],
)
def test_what_is_not_known_says_whether_to_try_again(status: int, body: bytes, retryable: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    """Codes of later releases and answers of proxies become the nearest kind."""
    assert error_of_answer(URL, status, {}, body).retryable is retryable


def test_a_refused_event_of_a_batch_tells_whether_to_try_again() -> None:
    """A result of a batch with an unknown code is retryable where it says so."""
    assert error_of_members({"code": "new", "detail": "x", "retryable": True}).retryable
    assert not error_of_members({"code": "new", "detail": "x", "retryable": False}).retryable


@pytest.mark.parametrize("text", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9999999", "²", ""])
def test_a_wait_that_is_no_number_of_seconds_is_none(text: str) -> None:
    """What the service never sends as ``Retry-After`` is not guessed at."""
    body = b'{"code":"not_found","detail":"x"}'

    assert error_of_answer(URL, 404, {"Retry-After": text}, body).retry_after_seconds is None
