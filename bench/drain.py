"""Connections whose other ends take everything at once, on a thread of their own: what writing costs, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final

from bench.server import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHUNK_BYTES: Final = 256 * 1024
_POLL_SECONDS: Final = 0.05


@contextlib.asynccontextmanager
async def drained_transports(count: int) -> AsyncIterator[list[asyncio.Transport]]:
    """Open `count` TCP connections of the loopback interface, and close them at the end of the block."""
    loop = asyncio.get_running_loop()
    with socket.create_server((HOST, 0), backlog=count) as listener, contextlib.ExitStack() as stack:
        listener.setblocking(False)  # noqa: FBT003 - the socket's own method
        selector = stack.enter_context(selectors.DefaultSelector())
        transports: list[asyncio.Transport] = []
        for _ in range(count):
            peer = stack.enter_context(socket.create_connection(listener.getsockname()))
            selector.register(peer, selectors.EVENT_READ)
            own, _ = await loop.sock_accept(listener)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, own)
            transports.append(transport)
        stopped = threading.Event()
        draining = threading.Thread(target=_drain, args=(selector, stopped))
        draining.start()
        try:
            yield transports
        finally:
            stopped.set()
            draining.join()
            for transport in transports:
                transport.abort()


def _drain(selector: selectors.BaseSelector, stopped: threading.Event) -> None:
    """Read whatever comes until told to stop."""
    while not stopped.is_set():
        for key, _ in selector.select(_POLL_SECONDS):
            key.fileobj.recv(_CHUNK_BYTES)  # type: ignore[union-attr]  # they are sockets
