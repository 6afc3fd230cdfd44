"""Does what a document says, as a reader would: its commands in a shell, its programs, its second terminal."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from tests.docs.blocks import Block
from tests.docs.expectation import json_matches, text_matches
from tests.redis_servers.port import unused_port
from tests.service_process import ServiceProcess, clean_environment

ADDRESS: Final = "localhost:8080"
"""Where documents say the service is; here it is where the test's is."""

SERVER_PORTS: Final = ("6379", "8081", "9000")
"""Ports on which documents start servers of their own; here each is one that is free."""

BLOCK_SECONDS: Final = 30.0
TERMINAL_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.01


class Reader:
    """One reader of one document, with a service of its own. Exported variables last from block to block."""

    def __init__(self, folder: Path, service: ServiceProcess) -> None:
        self._folder = folder
        self._service = service
        self._variables = folder / "variables.sh"
        self._variables.touch()
        self._screen = folder / "screen.txt"
        self._running: list[subprocess.Popen[bytes]] = []
        self._terminal: subprocess.Popen[bytes] | None = None
        self._ports = {port: str(unused_port()) for port in SERVER_PORTS}

    def __enter__(self) -> Self:
        """Begin to read."""
        return self

    def __exit__(self, *_: object) -> None:
        """End everything that was started, the youngest first."""
        while self._running:
            self._end(self._running[-1])

    def here(self, text: str) -> str:
        """Return a text with the addresses of this test where the document has the usual ones."""
        text = text.replace(ADDRESS, f"127.0.0.1:{self._service.port}")
        return re.sub(rf"\b({'|'.join(SERVER_PORTS)})\b", lambda found: self._ports[found[0]], text)

    def run(self, block: Block) -> str:
        """Run a block to its end; return what it wrote to standard output. A failing one is an AssertionError."""
        done = subprocess.run(
            self._command(block),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=BLOCK_SECONDS,
            cwd=self._folder,
            env=self._environment(),
        )
        assert done.returncode == 0, f"line {block.line} ended with {done.returncode}:\n{done.stderr.decode()}"
        return done.stdout.decode()

    def open_terminal(self, block: Block) -> None:
        """Start a block that goes on, and return once it has written something: it is connected then."""
        if self._terminal is not None:
            self._end(self._terminal)
        self._terminal = self._started(block)

    def start_server(self, block: Block) -> None:
        """Start a block that goes on until the document ends, and return once it has written something."""
        self._started(block)

    def _started(self, block: Block) -> subprocess.Popen[bytes]:
        self._screen = self._folder / f"screen-{block.line}.txt"
        with self._screen.open("wb") as screen:
            process = subprocess.Popen(
                self._command(block),
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=screen,
                cwd=self._folder,
                env=self._environment(),
                start_new_session=True,
            )
        self._running.append(process)
        self._wait(lambda: bool(self._screen_text), f"line {block.line} wrote nothing")
        return process

    def check_terminal(self, block: Block) -> None:
        """Wait until the terminal shows what the block shows."""
        expected = self.here(block.text)
        self._wait(
            lambda: text_matches(expected, self._screen_text),
            f"line {block.line}: the terminal does not show\n{expected}",
        )

    def check_output(self, block: Block, output: str) -> None:
        """Hold an output against the block that shows it."""
        matches = json_matches if block.language == "json" else text_matches
        expected = self.here(block.text)
        assert matches(expected, output), f"line {block.line} shows\n{expected}\nbut the output is\n{output}"

    def _command(self, block: Block) -> list[str]:
        if block.language == "python":
            return [sys.executable, "-u", "-c", self.here(block.text)]  # unbuffered, as in a terminal
        return ["bash", "-c", self._script(block)]

    def _script(self, block: Block) -> str:
        return f"set -euo pipefail; . {self._variables}; set -a\n{self.here(block.text)}\nexport -p > {self._variables}"

    def _environment(self) -> dict[str, str]:
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return clean_environment(
            {
                "PATH": tools,
                "WOWEVENT_URL": self._service.url,
                "WOWEVENT_DRAIN_LAME_DUCK_SECONDS": "0",  # what documents start ends with them
                "LC_ALL": "C.UTF-8",
            }
        )

    @property
    def _screen_text(self) -> str:
        return self._screen.read_text("utf-8")

    def _wait(self, is_so: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + TERMINAL_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"{otherwise}\nbut\n{self._screen_text}"
            time.sleep(LOOK_SECONDS)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._running.remove(process)
        if process is self._terminal:
            self._terminal = None
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(BLOCK_SECONDS)
