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
ADDED_BY_FORMAT_3 = ("push_records", "push_attempts")


@pytest.fixture(params=[1, 2], ids=lambda version: f"format-{version}")
def version(request: pytest.FixtureRequest) -> int:
    """Return the format of the store that a test begins with."""
    return int(request.param)


@pytest.fixture
def old(tmp_path: Path, version: int) -> Path:
    """Return a store of an earlier format: a bus, its epoch, and some events."""
    path = tmp_path / "events.db"
    connection = sqlite3.connect(path)
    for step in range(1, version + 1):
        file = resources.files("waooaw.events.engine.sqlite").joinpath(f"format_{step}.sql")
        connection.executescript(file.read_text("utf-8"))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
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
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(found)


async def test_a_store_of_an_earlier_format_goes_on(old: Path) -> None:
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


async def test_an_upgrade_that_fails_leaves_the_store_as_it_was(old: Path, version: int) -> None:
    """Where the last of the new tables cannot be made, the store keeps its format whole, for the release of it."""
    connection = sqlite3.connect(old)
    connection.execute("CREATE TABLE push_attempts (queue INTEGER)")
    tables = connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()

    with pytest.raises(StartupError, match="cannot be opened"):
        async with open_store(old):
            pass

    connection = sqlite3.connect(old)
    assert connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall() == tables
    connection.close()
    assert _version(old) == version


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


async def test_a_subscription_of_the_second_format(tmp_path: Path) -> None:
    """It keeps what waits, is leased and is dead, and can be pushed from then on: nothing is known of its receiver."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        queue = await Queue.made(engine)
        await (await Feed.begun(engine)).append(*entries(3), to=[queue])
        leased, dead = await queue.claim(2)
        await queue.settle_as("reject", dead)
        state = await queue.state()
    connection = sqlite3.connect(path)
    for table in ADDED_BY_FORMAT_3:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version = 2")
    connection.close()

    async with open_store(path) as engine:
        queue = queue.seen_by(engine, "another")
        assert await queue.state() == state
        assert await engine.push_attempts(BUS, queue.incarnation) == ()
        assert (await engine.write_push_record(BUS, queue.incarnation, b"known", expected=0)).version == 1
        await queue.ack(leased)
    assert _version(path) == FORMAT
