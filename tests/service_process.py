"""A real service in a process of its own, for tests that kill it, restart it and read its logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Self

from tests.redis_servers.port import unused_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY_SECONDS: Final = 30.0
"""A start takes under a second; a loaded machine is given more, and a service that ends is noticed at once."""

EXIT_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.01

OWN_VARIABLES: Final = frozenset({"PORT", "LOG_LEVEL", "EVENT_BUS_ENABLED", "REDIS_URL"})


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without settings of the service, and with ``variables``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in OWN_VARIABLES and not name.startswith("WOWEVENT_")
    }
    return kept | dict(variables)


class ServiceProcess:
    """One service with a data directory and a port that survive its restarts. Leaving ``with`` kills what still runs.

    ``variables`` are settings by their environment variables; a shutdown has no lame duck unless they say so. Behind
    ``prefix``, a command that brings it to another place, its address is ``host``. Blocking: a test with an event loop
    calls `start`, `terminate` and `restart` through ``asyncio.to_thread``.
    """

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        self.port = port or unused_port()
        self.url = f"http://{host}:{self.port}"
        self.data_directory = folder / "data"
        self.log_path = folder / "service.log"
        self._variables = {
            "PORT": str(self.port),
            "WOWEVENT_HOST": host,
            "WOWEVENT_DATA_DIRECTORY": str(self.data_directory),
            "WOWEVENT_DRAIN_LAME_DUCK_SECONDS": "0",
            **(variables or {}),
        }
        self._prefix = tuple(prefix)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start, and wait until it is ready."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs."""
        self.kill()

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """The id of the process that was started last."""
        return self._started().pid

    def start(self, *, wait: bool = True) -> None:
        """Start the process; with ``wait`` return once ``/ready`` answers 200."""
        if self.is_running:
            raise RuntimeError("the service runs already")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "waooaw.events.service"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(self._variables),
            )
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Return once ``/ready`` answers 200; AssertionError with the log where that does not come."""
        deadline = time.monotonic() + seconds
        while self._status("/ready") != 200:
            assert self.is_running, f"the service ended with {self.wait()}:\n{self.log_text}"
            assert time.monotonic() < deadline, f"the service was not ready in {seconds} s:\n{self.log_text}"
            time.sleep(LOOK_SECONDS)

    def terminate(self, *, seconds: float = EXIT_SECONDS) -> int:
        """Ask it to drain and end (SIGTERM), wait, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a lost machine does. Harmless where it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(EXIT_SECONDS)

    def restart(self) -> None:
        """Kill it and start it again on the same port and data."""
        self.kill()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._started().send_signal(number)

    def wait(self, seconds: float = EXIT_SECONDS) -> int:
        """Wait for its end; return the exit code (minus the signal's number where one ended it)."""
        return self._started().wait(seconds)

    @property
    def log_text(self) -> str:
        """Everything that it has written, over all its starts."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """The lines of its log, decoded; lines that are no JSON object (a fatal traceback) are left out."""
        return [json.loads(line) for line in self.log_text.splitlines() if line.startswith("{")]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the service was not started")
        return self._process

    def _status(self, path: str) -> int | None:
        try:
            with urllib.request.urlopen(self.url + path, timeout=2) as response:  # noqa: S310 - the URL is built above
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return None
