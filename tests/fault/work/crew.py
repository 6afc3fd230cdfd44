"""Members in processes of their own, killed at random moments and replaced, and what they wrote down."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from tests.fault.work.judge import Line, read_journal
from tests.service_process import clean_environment

_ROOT: Final = Path(__file__).parents[3]


class Crew:
    """Processes with ``members`` of each subscription each. Leaving ``async with`` kills them.

    They work at the ``urls`` in turns.
    """

    def __init__(
        self, folder: Path, subscriptions: Sequence[str], urls: Sequence[str], *, processes: int, members: int = 1
    ) -> None:
        self._folder = folder
        self._subscriptions = tuple(subscriptions)
        self._urls = itertools.cycle(urls)
        self._size = processes
        self._members = members
        self._numbers = itertools.count()
        self._living: dict[str, Process] = {}
        self.kills: dict[str, float] = {}
        """When each process was killed (monotonic)."""

    async def __aenter__(self) -> Self:
        """Start them."""
        self._folder.mkdir(parents=True)
        for _ in range(self._size):
            await self.hire()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill those who live."""
        for name in tuple(self._living):
            await self.kill(name)

    async def hire(self) -> None:
        """Start one more process."""
        name = f"worker-{next(self._numbers)}"
        prefix = str(self._folder / name)
        command = ["-m", "tests.fault.work.member", next(self._urls), prefix, str(self._members), *self._subscriptions]
        with self._errors(name).open("wb") as errors:
            self._living[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                cwd=_ROOT,
                env=clean_environment({"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}),
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=errors,
            )

    async def kill(self, name: str) -> None:
        """Kill a process (SIGKILL) and so all its members."""
        process = self._living.pop(name)
        assert process.returncode is None, self._errors(name).read_text("utf-8")
        self.kills[name] = time.monotonic()  # not after the wait: what it held goes back while that takes its time
        process.kill()
        await process.wait()

    async def replace(self, name: str) -> None:
        """Kill a process and start another."""
        await self.kill(name)
        await self.hire()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a process a signal."""
        self._living[name].send_signal(number)

    @property
    def names(self) -> list[str]:
        """Those who live."""
        return list(self._living)

    def journals(self, subscription: str) -> dict[str, list[Line]]:
        """What all processes wrote down of a subscription, the killed ones too."""
        paths = {name: self._folder / f"{name}.{subscription}" for name in (*self.kills, *self._living)}
        return {name: read_journal(path.read_text("utf-8")) for name, path in paths.items() if path.exists()}

    def _errors(self, name: str) -> Path:
        return self._folder / f"{name}.err"
