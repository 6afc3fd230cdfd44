"""A disk that fills up under load, and space that comes back."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.checker import StoreVerdict, check_store, check_stream
from tests.fault.conftest import Report
from tests.fault.history import History, Key
from tests.fault.parameters import DISK_MIB
from tests.fault.publishers import (
    EVENTS_PATH,
    STRUCTURED,
    BatchPublisher,
    Publisher,
    SinglePublisher,
    SocketPublisher,
    Source,
)
from tests.fault.readers import SseReader
from tests.fault.sockets import HttpLink, get
from tests.fault.store_reading import read_store
from tests.fault.traffic import content, event_json
from tests.fault.waiting import until
from tests.service_process import ServiceProcess

KINDS: tuple[type[Publisher], ...] = (SinglePublisher, BatchPublisher, BatchPublisher, SocketPublisher)
MIB = 1024 * 1024
BLOCK = bytes(MIB // 16)
RESERVE_BYTES = 4 * MIB
EVENTS = 1000
"""Accepted before the disk fills, refused while it is full, and accepted after."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB.count}m", "tmpfs", str(place)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no disk may be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def free_bytes(disk: Path) -> int:
    """Return the free space."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def fill(disk: Path, leave_bytes: int) -> None:
    """Take the free space but for so much."""
    with (disk / "ballast").open("ab", buffering=0) as ballast:
        while free_bytes(disk) > leave_bytes:
            try:
                ballast.write(BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return


async def check_refusal(port: int) -> None:
    """See what a publisher and an operator are told while the disk is full."""
    async with HttpLink(port) as link:
        key = Key("probe", 0)
        answer = await link.request("POST", EVENTS_PATH, event_json(key, content(key)), STRUCTURED)
        assert (answer.status, answer.json["code"]) == (503, "storage_full")
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json["outcome"] == "not_stored"
        health = await link.request("GET", "/health")
        assert (health.status, health.json["status"]) == (200, "degraded")
        assert health.json["reason"].startswith("storage_full")
        assert (await link.request("GET", "/ready")).status == 200


@pytest.mark.parametrize("reserve_bytes", [RESERVE_BYTES, 0], ids=["reserve", "to-the-last-byte"])
async def test_full_disk_refuses_publishes_and_nothing_else(
    tmp_path: Path, disk: Path, history: History, report: Report, reserve_bytes: int
) -> None:
    """On a full disk nothing accepted is lost, publishes get 503, reading goes on, and space alone is the cure."""
    settings = {
        "WOWEVENT_DATA_DIRECTORY": str(disk / "data"),
        "WOWEVENT_STORAGE_RESERVE_BYTES": str(reserve_bytes),
        "WOWEVENT_RING_BYTES_MAX": "0",
    }
    sources = [Source(f"{kind.__name__}-{index}", history, 500) for index, kind in enumerate(KINDS)]
    publishing = True
    with ServiceProcess(tmp_path, settings) as service:
        port = service.port
        async with SseReader(port) as live, asyncio.TaskGroup() as group:
            await live.begin("*", "earliest")
            for kind, source in zip(KINDS, sources, strict=True):
                group.create_task(kind(port, source, history).run(lambda: publishing))
            await until(lambda: history.accepted >= EVENTS, "events accepted")
            await asyncio.to_thread(fill, disk, reserve_bytes // 2)
            await until(lambda: history.refused_attempts >= EVENTS, "events refused")
            await check_refusal(port)
            accepted_when_full = history.accepted
            stored, _ = await read_store(port)
            await live.until_position(stored[-1].position)
            (disk / "ballast").unlink()
            await until(lambda: history.accepted >= accepted_when_full + EVENTS, "events accepted again")
            health = await get(port, "/health")
            publishing = False
        process_id = service.process_id
        stored, _ = await read_store(port)
        await asyncio.to_thread(service.restart)
        assert service.process_id != process_id
        assert (await read_store(port))[0] == stored
    report(
        f"{history.accepted} accepted, {accepted_when_full} of them before the disk was full, "
        f"{history.refused_attempts} refused, {history.unknown_attempts} of unknown outcome"
    )
    assert health.json["status"] == "healthy"
    codes = {code for operation in history.operations.values() for code in operation.codes}
    assert codes == {"storage_full"}
    assert history.unknown_attempts == 0
    assert check_store(history.operations.values(), stored) == StoreVerdict()
    assert check_stream(stored, live.session.start, live.session.items).is_whole
    assert '"level": "ERROR"' not in service.log_text
