"""Names of hosts looked up beside the event loop, so that a DNS that is cut off harms nothing else.

asyncio's own look-ups share the loop's default threads: while DNS does not answer, each attempt to connect holds one
for tens of seconds until none is left for anything (after 40 attempts a trivial call waited 16 s). So:

Rule 1: look-ups have threads of their own, one for each that is outstanding, and one is outstanding for each host:
all who want to know wait for the same answer.
Rule 2: a waiter waits for a bounded time and is told that DNS failed, not the one whose name it is. The look-up itself
goes on: there is no way to end it, and a second one would hang as well.
Rule 3: the threads are daemons: a process that ends does not wait for DNS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Final

from waooaw.events.outages import NameResolutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOOK_UPS_MAX: Final = 16
"""Threads that a DNS without an answer can hold. More hosts than that wait for each other's answers."""


def system_look_up(host: str) -> Iterable[str]:
    """Return a host's addresses in the order of the system (RFC 6724). Blocks; raises `OSError` or `UnicodeError`."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def unanswered(host: str, whom: str, timeout_seconds: float) -> NameResolutionError:
    """Return the error for a look-up that did not come back in time; ``whom`` was to be asked at that name."""
    return NameResolutionError(
        f"DNS did not answer for {host!r} within {timeout_seconds:g} s; {whom} was not asked. Check the "
        "resolver of this machine and, on Kubernetes, that the network policy lets DNS out"
    )


class NameLookup:
    """The look-ups of one owner. Call it from one event loop; ``timeout_seconds`` is what one waiter waits.

    ``owner`` is who closes it, for the sentence of an error; ``look_ups_max`` is how many threads it may have.
    """

    def __init__(
        self,
        timeout_seconds: float = 2.0,
        *,
        look_up: Callable[[str], Iterable[str]] = system_look_up,
        owner: str = "the engine",
        look_ups_max: int = LOOK_UPS_MAX,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._look_up = look_up
        self._owner = owner
        self._look_ups_max = look_ups_max
        self._outstanding: dict[str, asyncio.Future[tuple[str, ...] | Exception]] = {}
        self._closed = False

    async def addresses(self, host: str, whom: str) -> tuple[str, ...]:
        """Return the addresses of a host, each once, best first; an address that stands for itself at once.

        ``whom`` is to be asked there, for the sentence of the error. Raises `NameResolutionError`.
        """
        if _is_address(host):
            return (host,)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                found = await self._shared(host)
        except TimeoutError:
            raise unanswered(host, whom, self._timeout_seconds) from None
        if isinstance(found, NameResolutionError):
            raise found
        if isinstance(found, Exception):
            detail = (
                f"DNS failed for {host!r} ({_reason(found)}); {whom} was not asked. Check the spelling of "
                "the host, and the DNS"
            )
            raise NameResolutionError(detail)
        return found

    def close(self) -> None:
        """Answer all who wait, and look nothing up any more; threads that hang are left alone. Harmless twice."""
        self._closed = True
        for look_up in self._outstanding.values():
            if not look_up.done():
                look_up.set_result(self._closing())

    async def _shared(self, host: str) -> tuple[str, ...] | Exception:
        while not self._closed and host not in self._outstanding and len(self._outstanding) >= self._look_ups_max:
            await asyncio.wait(self._outstanding.values(), return_when=asyncio.FIRST_COMPLETED)
        if self._closed:
            return self._closing()
        look_up = self._outstanding.get(host)
        if look_up is None:
            look_up = self._start(host)
        return await asyncio.shield(look_up)  # one who gives up does not end it for the others

    def _start(self, host: str) -> asyncio.Future[tuple[str, ...] | Exception]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[str, ...] | Exception] = loop.create_future()

        def run() -> None:
            found: tuple[str, ...] | Exception
            try:
                found = tuple(dict.fromkeys(self._look_up(host)))
            except (OSError, UnicodeError) as error:  # UnicodeError: a label that IDNA does not take
                found = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._finish, host, found)

        thread = threading.Thread(target=run, name=f"look-up {host}", daemon=True)
        thread.start()
        self._outstanding[host] = answer
        return answer

    def _finish(self, host: str, found: tuple[str, ...] | Exception) -> None:
        answer = self._outstanding.pop(host)
        if not answer.done():
            answer.set_result(found or OSError("the name has no address"))

    def _closing(self) -> NameResolutionError:
        return NameResolutionError(f"the look-up was given up: {self._owner} is closing")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _reason(error: Exception) -> str:
    """Return what the resolver says, without its number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
