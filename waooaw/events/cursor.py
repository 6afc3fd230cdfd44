"""What a client keeps to resume: epoch and position as one opaque, URL-safe token.

The token is base64url (RFC 4648 section 5, no padding) of 25 bytes: format version, a digest of the bus's name, the
epoch, the position, and a CRC-32 over them. The checksum tells a mangled token (400) from one whose
history is gone (`gap`).
"""

from __future__ import annotations

import struct
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from waooaw.events.errors import InvalidCursorError
from waooaw.events.position import Position

_FORMAT: Final = 1
_BODY: Final = struct.Struct(">B4sQQ")
_CHECKSUM: Final = struct.Struct(">I")
TOKEN_LENGTH: Final = 34
"""Characters of every token: 25 bytes in base64url."""


class Cursor(NamedTuple):
    """A place between two events of one bus: everything at or before ``position``, as known in ``epoch``, was seen."""

    epoch: int
    position: Position


@lru_cache(maxsize=256)
def _bus_digest(bus: str) -> bytes:
    return blake2b(bus.encode(), digest_size=4).digest()


def encode_cursor(bus: str, cursor: Cursor) -> str:
    """Return the token of a cursor of a bus."""
    body = _BODY.pack(_FORMAT, _bus_digest(bus), cursor.epoch, cursor.position)
    return urlsafe_b64encode(body + _CHECKSUM.pack(zlib.crc32(body))).decode("ascii").rstrip("=")


def decode_cursor(bus: str, token: str) -> Cursor:
    """Read a token of the bus; raises `InvalidCursorError` for a malformed one and for one of another bus."""
    try:
        data = urlsafe_b64decode(token + "==") if len(token) == TOKEN_LENGTH else b""
    except ValueError:
        data = b""
    body, checksum = data[: _BODY.size], data[_BODY.size :]
    if len(data) != _BODY.size + _CHECKSUM.size or _CHECKSUM.pack(zlib.crc32(body)) != checksum:
        message = f"not a cursor: {token[:64]!r}; give one that the bus gave, whole"
        raise InvalidCursorError(message)
    version, digest, epoch, position = _BODY.unpack(body)
    if version != _FORMAT:
        message = f"a cursor of format {version}, which this release does not know"
        raise InvalidCursorError(message)
    if digest != _bus_digest(bus):
        message = f"the cursor belongs to another bus than {bus!r}"
        raise InvalidCursorError(message)
    cursor = Cursor(epoch, Position(position))
    if encode_cursor(bus, cursor) != token:
        message = f"not a cursor: {token[:64]!r}; give one that the bus gave, whole"
        raise InvalidCursorError(message)
    return cursor
