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
"""Runs whose processes have neighbouring ids begin far from each other."""

_NEXT: Final = itertools.count(os.getpid() * _STEP)


def _own_ports() -> range:
    """Return the ports of this process alone, where pytest-xdist spreads a run over several: it names and counts them.

    A port may be given and not be listened on yet, or no more for a moment: another process would take it for free.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % processes
    size = (LAST - FIRST) // processes
    return range(FIRST + number * size, FIRST + (number + 1) * size)


_OWN: Final = _own_ports()


def unused_port() -> int:
    """Return a port that nobody listens on now and that this process has not given before."""
    for number in itertools.islice(_NEXT, len(_OWN)):
        port = _OWN[number % len(_OWN)]
        if _is_free(port):
            return port
    raise RuntimeError(f"every port from {_OWN.start} to {_OWN.stop} is taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        return True
