"""Formats of the store: one of an earlier release is brought to this one's, in one step, and loses nothing."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from tests.conformance.engines import Writer, stored
from tests.conformance.queues import Feed, Queue, positions
from tests.engine.sqlite.stores import BUS, open_store
from tests.event_samples import entries, entry
from waooaw.events.engine.sqlite import statements
from waooaw.events.engine.sqlite.store_file import APPLICATION_ID, FORMAT
from waooaw.events.errors import StartupError
from waooaw.events.position import make_position

EVENTS = 300


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a store as the first release wrote it: a bus, its epoch, and some events."""
    path = tmp_path / "events.db"
    connection = sqlite3.connect(path)
    connection.executescript(resources.files("waooaw.events.engine.sqlite").joinpath("format_1.sql").read_text("utf-8"))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    given = entries(EVENTS)
    rows = [
        (make_position(1_764_000_000_000, number), each.type, each.source, each.id, None, 0, each.body)
        for number, each in enumerate(given)
    ]
    connection.execute("INSERT INTO buses (name) VALUES (?)", (BUS,))
    connection.execute(statements.CREATE_LOG.format(log="log_1"))
    connection.executemany(statements.INSERT.format(log="log_1"), rows)
    connection.execute(statements.GROWN, (rows[-1][0], EVENTS, sum(len(each.body) for each in given), 1))
    connection.execute(statements.ADD_EPOCH, (1, (7).to_bytes(8, "big"), 0))
    connection.commit()
    connection.close()
    return path


def _version(path: Path) -> int:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


async def test_a_store_of_the_first_format_goes_on(old: Path) -> None:
    """Its events, its history and its counts are there; durable subscriptions and appends work, also after a reopen."""
    async with open_store(old) as engine:
        before = await stored(engine)
        assert (len(before), engine.state(BUS).events) == (EVENTS, EVENTS)
        assert 7 in [epoch.id for epoch in engine.state(BUS).history.epochs]
        queue = await Queue.made(engine)
        await (await Feed.begun(engine)).append(entry(data="new"), to=[queue])
        (lease,) = await queue.claim()
        assert lease.event.event.data == "new"

    assert _version(old) == FORMAT
    async with open_store(old) as engine:
        assert (await stored(engine))[:-1] == before
        await Queue(engine, queue.incarnation, queue.rules).ack(lease)


async def test_an_upgrade_that_fails_leaves_the_store_as_it_was(old: Path) -> None:
    """Where the new tables cannot be made, the store keeps its old format whole, for the release that wrote it."""
    connection = sqlite3.connect(old)
    connection.execute("CREATE TABLE parked (queue INTEGER)")
    tables = connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()

    with pytest.raises(StartupError, match="cannot be opened"):
        async with open_store(old):
            pass

    connection = sqlite3.connect(old)
    assert connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall() == tables
    connection.close()
    assert _version(old) == 1


async def test_a_store_that_was_brought_up_is_as_a_new_one(old: Path, tmp_path: Path) -> None:
    """Both have the same tables and indexes."""
    async with open_store(old), open_store(tmp_path / "new" / "events.db") as engine:
        await (await Writer.registered(engine)).append(entry())

    schemas = []
    for path in (old, tmp_path / "new" / "events.db"):
        connection = sqlite3.connect(path)
        schemas.append(connection.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY name").fetchall())
        connection.close()
    assert schemas[0] == schemas[1]


async def test_a_subscription_that_begins_with_old_events(old: Path) -> None:
    """History of the old format can be filled into a queue."""
    async with open_store(old) as engine:
        queue = await Queue.made(engine, start=make_position(0))
        assert (await queue.state()).fill is not None
        assert positions(await queue.claim()) == []
        assert await engine.oldest_needed(BUS, [queue.incarnation]) == 1
