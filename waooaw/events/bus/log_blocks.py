"""Reading history for many at once: readers that stand near one another share the same blocks of the log.

A block begins where the first reader that needed it stood. Blocks follow one another, so readers that began at
different places are on the same blocks from the next one on; a block is read once however many wait for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from waooaw.events.engine.contract import EventLog, Page
    from waooaw.events.position import Position

BLOCK_EVENTS: Final = 1000
BLOCKS_KEPT: Final = 16
"""At most 64 MiB of events (a page is at most 4 MiB), usually 8: enough for readers some seconds apart."""


class LogBlocks:
    """Blocks of one bus's log, read and kept."""

    def __init__(self, log: EventLog, bus: str) -> None:
        self._log = log
        self._bus = bus
        self._kept: OrderedDict[Position, Page] = OrderedDict()
        self._reading: dict[Position, asyncio.Task[Page]] = {}

    def clear(self) -> None:
        """Forget all, also what is being read: the log's history went back, and those pages are of another one."""
        self._kept.clear()
        self._reading = {}

    async def read(self, after: Position, through: Position) -> Page:
        """Return a page that holds what follows ``after``, up to ``through`` or less; it may begin earlier."""
        page = self._find(after)
        if page is None and after not in self._reading and (earlier := self._earlier(after)) is not None:
            # Its page may hold what follows: waiting costs less than one more read for each of many near readers.
            await asyncio.wait((earlier,))
            page = self._find(after)
        if page is not None:
            return page
        task = self._reading.get(after)
        if task is None:
            task = asyncio.get_running_loop().create_task(
                self._read(after, through, self._reading), name=f"read {self._bus}"
            )
            self._reading[after] = task
        return await asyncio.shield(task)

    def _find(self, after: Position) -> Page | None:
        for start, page in self._kept.items():
            if start <= after < page.reached and after >= page.trimmed_through:
                self._kept.move_to_end(start)
                return page
        return None

    def _earlier(self, after: Position) -> asyncio.Task[Page] | None:
        """Return the read in flight that begins nearest before a position."""
        start = max((start for start in self._reading if start < after), default=None)
        return None if start is None else self._reading[start]

    async def _read(self, after: Position, through: Position, reading: dict[Position, asyncio.Task[Page]]) -> Page:
        try:
            page = await self._log.read(self._bus, after, through=through, limit=BLOCK_EVENTS)
        finally:
            del reading[after]
        if page.events and reading is self._reading:
            self._kept[after] = page
            while len(self._kept) > BLOCKS_KEPT:
                self._kept.popitem(last=False)
        return page
