"""Publishing many events as lines of JSON, with an answer for each."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Self

import msgspec

from waooaw.events.batch import BATCH_EVENTS_MAX
from waooaw.events.cli.commands import complain
from waooaw.events.cli.service_address import PUBLISHING_PATIENCE_SECONDS, reached
from waooaw.events.errors import TooLargeError, WowEventError
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from waooaw.events.receipt import Receipt

READ_BYTES: Final = 1024 * 1024
"""Read at a time; from a pipe, what there is, so that a slow writer's lines are published as they come."""

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest event that a service can be set to take."""

Line = tuple[int, bytes]
"""The number of a line, from 1, and its text."""


@dataclass(slots=True)
class Result:
    """What became of the lines."""

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    is_away: bool = False

    def __str__(self) -> str:
        """Return it as a sentence for a person."""
        duplicates = f" ({self.duplicates:,} of them stored before)" if self.duplicates else ""
        return f"{self.accepted:,} accepted{duplicates}, {self.refused:,} refused"


def publish_lines(url: str, bus_name: str, path: Path | None, *, as_json: bool) -> Result:
    """Publish the lines of a file, or of standard input, in order; tell each refusal, and the sum.

    Stops where the service goes away for longer than publishing waits, and tells the line to go on from. Input is read
    between runs of the event loop, so that an interrupt ends a wait for it.
    """
    result = Result()
    with ExitStack() as stack:
        source = sys.stdin.buffer if path is None else stack.enter_context(path.open("rb"))
        runner = stack.enter_context(asyncio.Runner())
        address = reached(url, bus_name, patience_seconds=PUBLISHING_PATIENCE_SECONDS)
        bus = runner.run(address.__aenter__())
        stack.callback(lambda: runner.run(address.__aexit__(None, None, None)))
        advance = stack.enter_context(_Progress(None if path is None else path.stat().st_size)).advance
        for lines in read_lines(source):
            answers = runner.run(bus.publish_texts([text for _, text in lines]))
            _tell(lines, answers, result, as_json=as_json)
            advance(sum(len(text) + 1 for _, text in lines), result.accepted)
            if result.is_away:
                break
    (sys.stderr if as_json else sys.stdout).write(f"{result}\n")
    return result


def read_lines(source: BinaryIO) -> Iterator[list[Line]]:
    """Give the lines that are there, some at a time; empty ones are counted and left out.

    Raises `TooLargeError` for a line that no service would take.
    """
    number, rest = 0, b""
    read = getattr(source, "read1", source.read)
    while chunk := read(READ_BYTES):
        *texts, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            message = f"line {number + len(texts) + 1} has more than {LINE_BYTES_MAX} bytes"
            raise TooLargeError(message)
        numbered = [(number + index, text) for index, text in enumerate(texts, 1) if text.strip()]
        number += len(texts)
        for begin in range(0, len(numbered), BATCH_EVENTS_MAX):
            yield numbered[begin : begin + BATCH_EVENTS_MAX]
    if rest.strip():
        yield [(number + 1, rest)]


def _tell(lines: Sequence[Line], answers: Sequence[Receipt | WowEventError], result: Result, *, as_json: bool) -> None:
    for (number, _), answer in zip(lines, answers, strict=True):
        if isinstance(answer, UnavailableError):
            if not result.is_away:
                complain(f"stopped at line {number}: {answer.detail}")
            result.is_away = True
            continue
        if isinstance(answer, WowEventError):
            result.refused += 1
            if as_json:
                _write_json({"line": number, "status": "error", **_members(answer)})
            else:
                complain(f"line {number}: {answer.code}: {answer.detail}")
            continue
        result.accepted += 1
        result.duplicates += answer.duplicate
        if as_json:
            _write_json({"line": number, "status": "ok", **answer.as_json()})


def _members(error: WowEventError) -> dict[str, object]:
    return {"code": error.code, "detail": error.detail, "retryable": error.retryable}


def _write_json(members: dict[str, object]) -> None:
    sys.stdout.write(f"{msgspec.json.encode(members).decode()}\n")


class _Progress:
    """A bar on standard error where that is a terminal, and nothing elsewhere."""

    def __init__(self, total_bytes: int | None) -> None:
        self._total_bytes = total_bytes
        self._stack = ExitStack()
        self.advance: Callable[[int, int], None] = _nothing

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._show()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("publishing"),
            BarColumn(),
            TextColumn("{task.fields[events]:,} events"),
            TimeElapsedColumn(),
        )
        bar = self._stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
        task = bar.add_task("publishing", total=self._total_bytes, events=0)
        self.advance = lambda size_bytes, events: bar.update(task, advance=size_bytes, events=events)


def _nothing(_size_bytes: int, _events: int) -> None:
    """Show nothing."""
