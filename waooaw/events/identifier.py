"""Where new identifiers come from; injected, so that tests can foretell them."""

from __future__ import annotations

import secrets
from base64 import b64encode
from random import Random
from typing import Final, Protocol

import uuid_utils

from waooaw.events.push import SECRET_PREFIX

_EPOCH_BITS: Final = 64

_TOKEN_BYTES: Final = 16
"""128 bits: no two alike, and none to be guessed."""

_SIGNING_BYTES: Final = 32
"""As many as the digest has that it is the key of (RFC 2104 section 3)."""


class Identifiers(Protocol):
    """Makes identifiers. Safe to call from any thread; no two calls answer the same."""

    def new_event_id(self) -> str:
        """An ``id`` for an event that came without: a UUIDv7 (RFC 9562), later ones sort after earlier ones."""
        ...

    def new_epoch(self) -> int:
        """A number for a new epoch of a log: 64 bits, not zero, which stands for none."""
        ...

    def new_token(self) -> str:
        """An unguessable URL-safe text, for leases and confirmations."""
        ...


class RandomIdentifiers:
    """The real ones, from the operating system's randomness."""

    __slots__ = ()

    def new_event_id(self) -> str:
        """See Identifiers."""
        return str(uuid_utils.uuid7())

    def new_epoch(self) -> int:
        """See Identifiers."""
        return secrets.randbelow((1 << _EPOCH_BITS) - 1) + 1

    def new_token(self) -> str:
        """See Identifiers."""
        return secrets.token_urlsafe(_TOKEN_BYTES)


_: type[Identifiers] = RandomIdentifiers


def new_signing_secret() -> str:
    """Return a fresh secret for the requests of a webhook, as a definition and its receiver are given it."""
    return SECRET_PREFIX + b64encode(secrets.token_bytes(_SIGNING_BYTES)).decode()


def new_chance() -> Random:
    """Return chance for waits that must not fall together; it can be foretold, so it is for nothing secret."""
    return Random()  # noqa: S311 - see above
