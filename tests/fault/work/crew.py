"""Members in processes of their own, killed at random moments and replaced, and what they wrote down."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import Final, Self

from tests.fault.work.judge import Line, read_journal
from tests.service_process import clean_environment

_ROOT: Final = Path(__file__).parents[3]


class Crew:
    """The members of one subscription. Leaving ``async with`` kills them."""

    def __init__(self, folder: Path, subscription: str, urls: list[str], size: int) -> None:
        self._folder = folder
        self._subscription = subscription
        self._urls = itertools.cycle(urls)
        self._size = size
        self._numbers = itertools.count()
        self._living: dict[str, Process] = {}
        self.kills: dict[str, float] = {}

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
        """Start one more member."""
        name = f"{self._subscription}-{next(self._numbers)}"
        command = ["-m", "tests.fault.work.member", next(self._urls), self._subscription, name, str(self._path(name))]
        self._living[name] = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=_ROOT,
            env=clean_environment({"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=(self._folder / f"{name}.err").open("wb"),
        )

    async def kill(self, name: str) -> None:
        """Kill a member (SIGKILL)."""
        process = self._living.pop(name)
        assert process.returncode is None, (self._folder / f"{name}.err").read_text("utf-8")
        process.kill()
        await process.wait()
        self.kills[name] = time.monotonic()

    @property
    def names(self) -> list[str]:
        """Those who live."""
        return list(self._living)

    @property
    def journals(self) -> dict[str, list[Line]]:
        """What all wrote down, the killed ones too."""
        names = [*self.kills, *self._living]
        return {
            name: read_journal(self._path(name).read_text("utf-8"), name) for name in names if self._path(name).exists()
        }

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.journal"
