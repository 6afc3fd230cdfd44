"""New identifiers: of the form promised, and no two alike."""

from __future__ import annotations

import re
import secrets
from uuid import RFC_4122, UUID

import pytest

from waooaw.events.identifier import RandomIdentifiers

COUNT = 1_000


def test_event_ids_are_uuids_of_version_7_in_order() -> None:
    """Event ids are UUIDv7 in canonical form, all different, each after the one before."""
    made = [RandomIdentifiers().new_event_id() for _ in range(COUNT)]
    assert made == sorted(set(made))
    assert made == [str(UUID(text)) for text in made]
    assert {(7, RFC_4122)} == {(UUID(text).version, UUID(text).variant) for text in made}


def test_epochs_are_64_bits_and_never_zero() -> None:
    """Epochs fill 64 bits, are never the zero that stands for none, and do not repeat."""
    made = {RandomIdentifiers().new_epoch() for _ in range(COUNT)}
    assert len(made) == COUNT
    assert min(made) > 0
    assert 2**60 < max(made) < 2**64


@pytest.mark.parametrize(("drawn", "expected"), [(0, 1), (-1, 2**64 - 1)])
def test_the_edges_of_epochs(monkeypatch: pytest.MonkeyPatch, drawn: int, expected: int) -> None:
    """The lowest draw gives 1 and the highest the greatest number of 64 bits."""
    monkeypatch.setattr(secrets, "randbelow", lambda bound: range(bound)[drawn])
    assert expected == RandomIdentifiers().new_epoch()


def test_tokens_are_url_safe_and_differ() -> None:
    """Tokens are 128 bits as 22 URL-safe characters, all different."""
    made = {RandomIdentifiers().new_token() for _ in range(COUNT)}
    assert len(made) == COUNT
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", token) for token in made)
