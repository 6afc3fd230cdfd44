"""What streams are told where history is gone: trimmed while they were away or did not read, or lost in a restore."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.fault.checker import Received, Stored, StoreVerdict, StreamVerdict, Told, check_store, check_stream
from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.publishers import Source, publish_lines
from tests.fault.readers import Reader, SocketReader, SseReader, place_of
from tests.fault.sockets import HttpLink, get
from tests.fault.store_reading import read_store
from tests.fault.traffic import event_type
from tests.service_process import ServiceProcess
from waooaw.events.position import Position, format_position

Kind = type[Reader]
KINDS: tuple[Kind, ...] = (SocketReader, SseReader)

BATCH_EVENTS = 50
KEPT_EVENTS = 300
LARGE_BYTES = 20_000
LARGE_EVENTS = 1000
"""20 MB: several times what a connection that is not read buffers on its way."""

TRIM_SECONDS_MAX = 30.0
"""Retention looks every 5 seconds."""

SMALL = {"WOWEVENT_RETENTION_EVENTS": str(KEPT_EVENTS), "WOWEVENT_RING_BYTES_MAX": "0"}


async def publish(port: int, source: Source, history: History, events: int) -> None:
    """Publish so many events of a source, and see each accepted."""
    before = history.accepted
    async with HttpLink(port) as link:
        for _ in range(events // BATCH_EVENTS):
            assert await publish_lines(link, [source.take() for _ in range(BATCH_EVENTS)], history)
    assert history.accepted == before + events


async def trimmed(port: int, events: int) -> None:
    """Return once the log holds no more than so many events."""
    deadline = time.monotonic() + TRIM_SECONDS_MAX
    while (await get(port, "/v1/log")).json["events"] > events:
        assert time.monotonic() < deadline, "retention trimmed nothing"
        await asyncio.sleep(0.05)


async def status_of(port: int, event: Stored) -> int:
    """Return what the store answers for one event."""
    return (await get(port, f"/v1/events/{format_position(Position(event.position))}")).status


def accepted_log(history: History) -> list[Stored]:
    """Return everything that was ever accepted, in log order."""
    return sorted(
        Stored(operation.positions[0], key, operation.content, event_type(key))
        for key, operation in history.operations.items()
        if operation.positions
    )


async def cursor_after(kind: Kind, port: int, events: int) -> str:
    """Return the cursor of a reader that took so many events from the beginning."""
    async with kind(port) as reader:
        await reader.begin("*", "earliest")
        await reader.until_delivered(events)
        if isinstance(reader, SocketReader):  # what came while it stopped is behind its cursor too
            await reader.stop()
        return reader.session.cursors[-1]


@asynccontextmanager
async def resumed(port: int, cursors: dict[Kind, str]) -> AsyncIterator[list[Reader]]:
    """Give a reader of each kind, gone on from its cursor."""
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(kind(port)) for kind in cursors]
        for reader, cursor in zip(readers, cursors.values(), strict=True):
            await reader.begin("*", cursor)
        yield readers


async def test_overrun_readers_are_told_exactly_what_they_lost_and_go_on(
    tmp_path: Path, history: History, report: Report
) -> None:
    """Readers that were away, and readers that did not read, get one gap: all that retention removed, and no more."""
    source, large = Source("small", history), Source("large", history, LARGE_BYTES)
    with ServiceProcess(tmp_path, SMALL) as service:
        port = service.port
        await publish(port, source, history, 200)
        cursors = {kind: await cursor_after(kind, port, 100) for kind in KINDS}
        async with AsyncExitStack() as stack:
            stuck = [await stack.enter_async_context(kind(port, receive_bytes=4096)) for kind in KINDS]
            for reader in stuck:
                await reader.begin("*", "now")
            await publish(port, large, history, LARGE_EVENTS)
            await trimmed(port, KEPT_EVENTS)
            log = accepted_log(history)
            first_kept = log[-KEPT_EVENTS]
            readers = [*await stack.enter_async_context(resumed(port, cursors)), *stuck]
            await asyncio.gather(*(reader.until_position(log[-1].position) for reader in readers))
            await publish(port, source, history, 50)
            log = accepted_log(history)
            await asyncio.gather(*(reader.until_position(log[-1].position) for reader in readers))
            told_through = log[log.index(first_kept) - 1]
            assert (await status_of(port, told_through), await status_of(port, first_kept)) == (410, 200)
    verdicts = [check_stream(log, reader.session.start, reader.session.items) for reader in readers]
    for reader, verdict in zip(readers, verdicts, strict=True):
        report(f"{type(reader).__name__}: {verdict.delivered} delivered, {len(verdict.told)} told as gone")
    assert [verdict for verdict in verdicts if not verdict.is_whole] == []
    for reader, verdict in zip(readers, verdicts, strict=True):
        (gap,) = reader.session.gaps
        assert (gap.end, gap.reason) == (told_through.position, "retention")
        assert verdict.told[-1] == told_through.key
        assert verdict.delivered + len(verdict.told) == sum(event.position > reader.session.start for event in log)
    for reader, cursor in zip(readers, cursors.values(), strict=False):
        assert reader.session.gaps[0].start == place_of(cursor)
    assert '"level": "ERROR"' not in service.log_text


async def copy_of_data(service: ServiceProcess, target: Path) -> None:
    """Copy the data as it stands at one moment of a running service: what a snapshot of its disk holds."""
    service.signal(signal.SIGSTOP)
    try:
        await asyncio.to_thread(shutil.copytree, service.data_directory, target)
    finally:
        service.signal(signal.SIGCONT)


async def put_back(service: ServiceProcess, copy: Path) -> None:
    """Kill the service, and start it on an older copy of its data."""
    service.kill()
    shutil.rmtree(service.data_directory)
    shutil.copytree(copy, service.data_directory)
    await asyncio.to_thread(service.start)


@pytest.mark.parametrize("is_new_epoch", [False, True], ids=["copied-while-running", "copied-before-the-last-start"])
async def test_readers_past_a_restored_copy_are_told_and_go_on(
    tmp_path: Path, history: History, *, is_new_epoch: bool
) -> None:
    """A cursor past what a restore brought back gets a gap, then all that comes; others notice nothing."""
    source = Source("restored", history)
    with ServiceProcess(tmp_path) as service:
        port = service.port
        await publish(port, source, history, 200)
        kept = accepted_log(history)
        early = {kind: await cursor_after(kind, port, 100) for kind in KINDS}
        await copy_of_data(service, tmp_path / "copy")
        if is_new_epoch:
            await asyncio.to_thread(service.restart)
        await publish(port, source, history, 100)
        late = {kind: await cursor_after(kind, port, 300) for kind in KINDS}
        lost = accepted_log(history)[len(kept) :]
        await put_back(service, tmp_path / "copy")
        async with resumed(port, early) as unaffected, resumed(port, late) as affected:
            await publish(port, source, history, 100)
            stored, _ = await read_store(port)
            await asyncio.gather(*(reader.until_position(stored[-1].position) for reader in [*unaffected, *affected]))
    verdict = check_store(history.operations.values(), stored)
    assert verdict == StoreVerdict(lost=[event.key for event in lost])
    for reader in unaffected:
        passed = check_stream(stored, reader.session.start, reader.session.items)
        assert passed == StreamVerdict(delivered=sum(event.position > reader.session.start for event in stored))
    # Of an epoch that the copy has never heard of nothing is known: all that the store holds counts as unseen.
    goes_on_from = 0 if is_new_epoch else kept[-1].position
    expected = [Received(event.position, event.key) for event in stored if event.position > goes_on_from]
    for reader in affected:
        assert [item for item in reader.session.items if isinstance(item, Told)] == [
            Told(lost[-1].position, goes_on_from, "epoch")
        ]
        assert [item for item in reader.session.items if isinstance(item, Received)] == expected
    assert '"level": "ERROR"' not in service.log_text
