"""Ports for servers that are stopped and started again on the same one.

They lie outside the range from which the kernel gives ports to outgoing connections: there, a client that tries to
reach a stopped server may be given the server's own port, and then the server cannot start, or the client is connected
to itself.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"
FIRST: Final = 12_000
LAST: Final = 32_000
"""Linux gives ports from 32,768 on (``net.ipv4.ip_local_port_range``), macOS from 49,152."""

_STEP: Final = 613
"""Processes with neighbouring ids begin far from each other."""

_NEXT: Final = itertools.count(os.getpid() * _STEP)


def unused_port() -> int:
    """Return a port that nobody listens on now and that this process has not given before."""
    for number in itertools.islice(_NEXT, LAST - FIRST):
        port = FIRST + number % (LAST - FIRST)
        if _is_free(port):
            return port
    raise RuntimeError(f"every port from {FIRST} to {LAST} is taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        return True
