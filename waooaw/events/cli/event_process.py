"""A command that is run for one event: its JSON on standard input, its attributes in the environment.

Rule: nothing of an event is ever read by a shell, and nothing is put among the arguments.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from waooaw.events.delivery import REASON_LENGTH_MAX
from waooaw.events.handling import RejectError, ReleaseError, RetryError
from waooaw.events.position import format_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.delivery import Delivery

EXIT_REJECT: Final = 65
"""EX_DATAERR of sysexits.h: the input is at fault, so that trying again is no use."""

TERMINATE_SECONDS: Final = 5.0
"""Between the request to end and the end: long enough to put something down."""

STDERR_SECONDS: Final = 1.0
"""What a command wrote is read this long after its end; a process that it left behind may keep the pipe open."""

CHUNK_BYTES: Final = 64 * 1024

PREFIX: Final = "CE_"

_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class EventProcess:
    """Runs one command after another, any number at once, each in a process group of its own.

    A signal from the terminal thus reaches none of them: whoever runs this decides, by `kill_all`.
    """

    def __init__(self, command: Sequence[str], timeout_seconds: float | None) -> None:
        self._command = tuple(command)
        self._timeout_seconds = timeout_seconds
        self._running: set[asyncio.subprocess.Process] = set()
        self._is_killed = False

    @property
    def running(self) -> int:
        """How many commands run."""
        return len(self._running)

    async def run(self, delivery: Delivery) -> None:
        """Run the command for an event. Returns where it exits 0.

        Raises `RejectError` where it exits `EXIT_REJECT`, `ReleaseError` where `kill_all` ended it, `RetryError` else.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | event_variables(delivery),
                process_group=0,
            )
        except OSError as error:
            message = f"{self._command[0]} cannot be run: {error.strerror}"
            raise RetryError(message) from None
        self._running.add(process)
        try:
            last_line, is_late = await self._attend(process, delivery.stored.body)
        finally:
            self._running.discard(process)
            _kill(process)
        self._judge(process.returncode or 0, last_line, is_late=is_late)

    def kill_all(self) -> None:
        """Kill what runs, with its children; their events are released."""
        self._is_killed = True
        for process in self._running:
            _kill(process)

    async def _attend(self, process: asyncio.subprocess.Process, body: bytes) -> tuple[str, bool]:
        """Feed the command and wait for its end; return the last line that it complained, and whether it was late."""
        last_line = _LastLine()
        reading = asyncio.create_task(last_line.read(process), name="read standard error")
        feeding = asyncio.create_task(_feed(process, body), name="feed standard input")
        try:
            is_late = not await _ends_within(process, self._timeout_seconds)
            if is_late:
                _signal(process, signal.SIGTERM)
                if not await _ends_within(process, TERMINATE_SECONDS):
                    _kill(process)
                    await process.wait()
            await asyncio.wait((reading,), timeout=STDERR_SECONDS)
        finally:
            for task in (reading, feeding):
                task.cancel()
            await asyncio.wait((reading, feeding))
        return last_line.text, is_late

    def _judge(self, code: int, last_line: str, *, is_late: bool) -> None:
        if is_late:
            message = f"not done within {self._timeout_seconds:g} s"
            raise RetryError(_joined(message, last_line))
        if code == 0:
            return
        if code < 0 and self._is_killed:
            message = "the command was killed"
            raise ReleaseError(message)
        if code == EXIT_REJECT:
            raise RejectError(last_line or f"the command exited {code}")
        raise RetryError(last_line or (f"the command exited {code}" if code > 0 else f"ended by {_signal_name(-code)}"))


def event_variables(delivery: Delivery) -> dict[str, str]:
    """Return the attributes of an event as variables: ``CE_TYPE`` and so on, ``CE_POSITION`` and ``CE_ATTEMPT``."""
    members = _decode(delivery.stored.body)
    found = {
        PREFIX + name.upper(): _spelled(msgspec.json.decode(value))
        for name, value in members.items()
        if name not in {"data", "data_base64"}
    }
    found[PREFIX + "POSITION"] = format_position(delivery.stored.position)
    found[PREFIX + "ATTEMPT"] = str(delivery.attempt)
    return found


def _spelled(value: Any) -> str:  # noqa: ANN401 - an attribute: a text, a number or a truth
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _feed(process: asyncio.subprocess.Process, body: bytes) -> None:
    """Write an event, and end the input. A command need not read it."""
    stdin = process.stdin
    if stdin is None:
        return
    with suppress(ConnectionError):
        stdin.write(body + b"\n")
        await stdin.drain()
    stdin.close()


async def _ends_within(process: asyncio.subprocess.Process, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        return False
    return True


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to a command and its children, if there are any left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        _signal(process, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _joined(message: str, last_line: str) -> str:
    return f"{message}: {last_line}" if last_line else message


class _LastLine:
    """Passes a command's standard error on, and keeps its last line that is not empty."""

    def __init__(self) -> None:
        self._kept = b""
        self._line = b""

    async def read(self, process: asyncio.subprocess.Process) -> None:
        stderr = process.stderr
        while stderr is not None and (chunk := await stderr.read(CHUNK_BYTES)):
            sys.stderr.buffer.write(chunk)
            sys.stderr.buffer.flush()
            *lines, rest = (self._line + chunk).split(b"\n")
            self._kept = next((line for line in reversed(lines) if line.strip()), self._kept)[: 4 * REASON_LENGTH_MAX]
            self._line = rest[: 4 * REASON_LENGTH_MAX]

    @property
    def text(self) -> str:
        line = self._line if self._line.strip() else self._kept
        return line.decode("utf-8", "replace").strip()[:REASON_LENGTH_MAX]
