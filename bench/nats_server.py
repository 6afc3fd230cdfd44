"""A nats-server of one scenario's own, with JetStream in files."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import socket
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.server import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.report import Context
    from bench.server import Server


@contextlib.contextmanager
def running_nats(context: Context, core: int | None) -> Iterator[Server]:
    """Run nats-server with JetStream on a core. Raises BenchError without one."""
    if shutil.which("nats-server") is None:
        raise BenchError("nats-server is not installed: on Debian and Ubuntu, apt-get install nats-server")
    launcher = dataclasses.replace(context.launcher, core=core)
    with launcher.running("nats-server", _nats_command, is_ready=_greets) as server:
        yield server


def _nats_command(port: int, directory: Path) -> Sequence[str]:
    return ["nats-server", "-js", "-sd", str(directory / "data"), "-a", HOST, "-p", str(port)]


def _greets(port: int) -> bool:
    """Tell whether nats-server says INFO; a refused connection is the usual no of a process that still starts."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False
