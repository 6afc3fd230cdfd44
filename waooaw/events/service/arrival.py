"""Whether a next request has begun to arrive on a connection: aiohttp's parser knows, and does not tell.

It hands over requests whose headers are complete. What came behind the last of them is found by where that one ends:
its headers, and the chunks of a body, end in an empty line, which no part of further headers has in it; a body of a
given length ends when that many bytes have come. Where bytes cannot be told apart (they waited in the parser), none
counts as begun: the connection is then kept as an idle one is.
"""

from __future__ import annotations

from typing import Final, Protocol

HEAD_END: Final = b"\r\n\r\n"

_KEPT_BYTES: Final = len(HEAD_END) - 1


class Body(Protocol):
    """What is known of a request's body while it arrives."""

    @property
    def total_bytes(self) -> int:
        """How much of it has arrived, without the framing of chunks."""
        ...

    def is_eof(self) -> bool:
        """Tell whether all of it has arrived."""
        ...


class Arrival:
    """Follows the bytes of one connection. Give it each piece after the parser had it."""

    __slots__ = ("_arrived_bytes", "_body", "_is_behind", "_is_chunked", "_kept", "has_begun")

    def __init__(self) -> None:
        self.has_begun = False
        self._body: Body | None = None
        self._is_behind = False
        self._is_chunked = False
        self._arrived_bytes = 0
        self._kept = b""

    def take(self, data: bytes) -> None:
        """Note a piece in which no further headers became complete."""
        if data and not self.has_begun:
            self.has_begun = self._is_beyond(data)
        self._keep(data)

    def _is_beyond(self, data: bytes) -> bool:
        """Tell whether a piece goes beyond the body to which it belongs, if to any."""
        if self._body is None:
            return self._is_behind and bool(data.strip(b"\r\n"))
        arrived_bytes = self._body.total_bytes - self._arrived_bytes
        if not self._follow(self._body):
            return False
        return not self._ends_before(0, data) if self._is_chunked else arrived_bytes < len(data)

    def take_request(self, data: bytes, body: Body, *, is_chunked: bool) -> None:
        """Note a piece in which the headers of one or more requests became complete, and the body of the last one."""
        self._is_chunked, self._is_behind = is_chunked, True
        is_whole = self._follow(body)
        body_bytes = 0 if is_chunked else self._arrived_bytes
        self.has_begun = is_whole and bool(data) and not self._ends_before(body_bytes, data)
        self._keep(data)

    def _follow(self, body: Body) -> bool:
        """Note how much of a body has arrived; tell whether it is whole, and if so let it go."""
        self._arrived_bytes = body.total_bytes
        is_whole = body.is_eof()
        self._body = None if is_whole else body
        return is_whole

    def _ends_before(self, body_bytes: int, data: bytes) -> bool:
        """Tell whether an empty line stands before the last ``body_bytes`` of what has come."""
        needed_bytes = body_bytes + len(HEAD_END)
        come = data if len(data) >= needed_bytes else self._kept + data
        end = len(come) - body_bytes
        return come[max(end - len(HEAD_END), 0) : end] == HEAD_END

    def _keep(self, data: bytes) -> None:
        """Keep what may be the beginning of an empty line that the next piece ends."""
        self._kept = (self._kept + data[-_KEPT_BYTES:])[-_KEPT_BYTES:]
