"""A receiver in a process of its own: it writes down what it got, fails by chance, and can be killed (-9).

Each request is a line in its log before it is answered, and the log survives the process. Times are of the clock that
all processes of a machine share. ``python -m tests.webhooks.receiver_process --help`` tells what it takes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec
from aiohttp import web

from tests.fault.waiting import lasting
from tests.redis_servers.port import unused_port
from tests.webhooks.receivers import HOST, consent_to

READY_SECONDS: Final = 30.0
EXIT_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.005


class Line(NamedTuple):
    """A request that came: which message, when, with what answer, and how many were under way with it."""

    message_id: str
    began: float
    ended: float
    status: int
    in_flight: int

    @property
    def position(self) -> str:
        """Where its event is in the log; of a batch with several, what names them."""
        return self.message_id.rpartition(".")[2]


class ReceiverProcess:
    """The process, its port and its log, which survive its restarts. Leaving ``with`` kills it. Blocking.

    ``failing_share`` of the requests is answered 503, by chance from ``seed``; each takes ``latency_seconds``.
    """

    def __init__(
        self, log_path: Path, *, failing_share: float = 0.0, latency_seconds: float = 0.0, seed: int = 0
    ) -> None:
        self.port = unused_port()
        self.url = f"http://{HOST}:{self.port}/events"
        self.log_path = log_path
        self._arguments = [f"--failing-share={failing_share}", f"--latency-seconds={latency_seconds}"]
        self._seed = seed
        self._process: subprocess.Popen[bytes] | None = None
        self._read_bytes = 0
        self._lines: list[Line] = []

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens; each start fails by other chance."""
        arguments = [*self._arguments, f"--port={self.port}", f"--log={self.log_path}", f"--seed={self._seed}"]
        self._seed += 1
        self._process = subprocess.Popen([sys.executable, "-m", "tests.webhooks.receiver_process", *arguments])
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_listening():
            assert self._process.poll() is None, f"the receiver ended with {self._process.returncode}"
            assert time.monotonic() < deadline, f"the receiver did not listen in {READY_SECONDS:g} s"
            time.sleep(LOOK_SECONDS)

    def kill(self) -> None:
        """End it at once (SIGKILL). Harmless where it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(EXIT_SECONDS)

    @property
    def lines(self) -> list[Line]:
        """What its log says, over all its starts."""
        if self.log_path.exists():
            with self.log_path.open("rb") as log:
                log.seek(self._read_bytes)
                whole = log.read()
            whole = whole[: whole.rfind(b"\n") + 1]
            self._read_bytes += len(whole)
            self._lines += [Line(*msgspec.json.decode(line)) for line in whole.splitlines()]
        return self._lines

    def _is_listening(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Server:
    """What runs in the process."""

    def __init__(self, log: Path, chance: random.Random, failing_share: float, latency_seconds: float) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._chance = chance
        self._failing_share = failing_share
        self._latency_seconds = latency_seconds
        self._in_flight = 0

    async def serve(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        if request.method == "OPTIONS":
            return web.Response(headers=consent_to(request.headers["WebHook-Request-Origin"]))
        began = time.monotonic()
        self._in_flight += 1
        in_flight = self._in_flight
        try:
            await request.read()
            if self._latency_seconds:
                await lasting(self._latency_seconds)
        finally:
            self._in_flight -= 1
        status = 503 if self._chance.random() < self._failing_share else 204
        line = Line(request.headers["webhook-id"], began, time.monotonic(), status, in_flight)
        os.write(self._log, msgspec.json.encode(line) + b"\n")
        return web.Response(status=status)


async def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True, help="where each request is written down")
    parser.add_argument("--failing-share", type=float, default=0.0, help="of the requests is answered 503")
    parser.add_argument("--latency-seconds", type=float, default=0.0, help="of each answer")
    parser.add_argument("--seed", type=int, default=0, help="of the chance by which requests fail")
    given = parser.parse_args()
    server = Server(given.log, random.Random(given.seed), given.failing_share, given.latency_seconds)
    listening = await asyncio.get_running_loop().create_server(
        web.Server(server.serve, access_log=None), HOST, given.port, reuse_address=True, backlog=1024
    )
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
