"""The tree of errors: stable codes, one status each, and what can be repeated."""

from __future__ import annotations

import pickle
import re

import pytest

from waooaw.events.error_table import ERRORS
from waooaw.events.errors import InvalidEventError, RoutesChangedError, StartupError, Violation, WowEventError
from waooaw.events.outages import UnavailableError

SHARED = {"not_available"}
"""Codes of two classes: a route (404) and a field (400) that this release does not serve."""


def test_codes_are_told_apart() -> None:
    """Clients branch on the code, so it names one kind of error."""
    codes = [error.code for error in ERRORS]

    assert {code for code in codes if codes.count(code) > 1} == SHARED


@pytest.mark.parametrize("error", ERRORS)
def test_each_error(error: type[WowEventError]) -> None:
    """Code, status and title are set, and a person's sentence stands beside them in the documentation."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.status in {400, 403, 404, 405, 406, 408, 409, 410, 413, 415, 422, 431, 500, 503}
    assert error.title
    assert not error.title.endswith(".")
    assert error.__doc__


@pytest.mark.parametrize("error", [error for error in ERRORS if error.retryable])
def test_what_can_be_repeated(error: type[WowEventError]) -> None:
    """Only what can pass by itself is retryable: never what the caller has to change."""
    assert error.status in {408, 409, 503}


def test_unavailable_is_retryable_and_not_stored() -> None:
    """Where nothing else is said, a publish that is refused for now is not stored and may be sent again soon."""
    error = UnavailableError("away")

    assert (error.retryable, error.outcome, error.retry_after_seconds) == (True, "not_stored", 1)
    assert UnavailableError("away", outcome="unknown", retry_after_seconds=9).outcome == "unknown"


def test_start_up_errors_are_for_the_one_who_starts() -> None:
    """They are kinds of one class, so that a command can print them without a trace."""
    kinds = [error for error in ERRORS if issubclass(error, StartupError)]

    assert {kind.code for kind in kinds} == {
        "startup_failed",
        "invalid_setting",
        "storage_in_use",
        "storage_format",
        "storage_corrupt",
        "engine_unreachable",
        "engine_unsuitable",
    }


def test_the_sentence_is_the_text() -> None:
    """``str()`` is what a person reads; the places are in ``errors``."""
    violation = Violation("#/id", "must not be empty", "empty")
    error = InvalidEventError("id must not be empty", errors=(violation,))

    assert str(error) == error.detail == "id must not be empty"
    assert error.errors == (violation,)


def test_changed_routes_carry_their_version() -> None:
    """The refused replica learns what to match against."""
    assert RoutesChangedError("changed", routes_version="7").routes_version == "7"


def test_violations_are_values() -> None:
    """They can be compared and sent between processes."""
    violation = Violation("#/id", "must not be empty", "empty")

    assert pickle.loads(pickle.dumps(violation)) == violation  # noqa: S301 - what was just made
