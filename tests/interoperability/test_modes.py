"""Real events go in by every mode and come out by every mode, whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.interoperability import publishing_modes, reading_modes
from tests.interoperability.github_events import FACTS
from tests.service_process import ServiceProcess


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    service = ServiceProcess(tmp_path)
    await asyncio.to_thread(service.start)
    try:
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(service.url, timeout=timeout, read_bufsize=2**20) as opened:
            yield opened
    finally:
        await asyncio.to_thread(service.kill)


@pytest.mark.parametrize("published_by", publishing_modes.MODES)
async def test_real_events_come_out_as_they_went_in(published_by: str, session: aiohttp.ClientSession) -> None:
    """Published one way into a fresh store, they are read every way: in order, equal, the data to the byte."""
    await publishing_modes.MODES[published_by](session)

    for read in reading_modes.MODES.values():
        found = await read(session, len(FACTS))

        assert found == list(FACTS), read.__name__
