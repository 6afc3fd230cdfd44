"""The users of the runbook: enough for the engine, and no more than it needs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path
from typing import Final

import pytest
from msgspec import structs

from tests.engine.redis.single_server import call, connected, serving
from tests.event_samples import entries, entry
from tests.redis_servers.port import unused_port
from tests.redis_servers.program import PROGRAMS, Program
from waooaw.events.clock import SystemClock
from waooaw.events.delivery import Outcome
from waooaw.events.delivery_attributes import DeliveryAttributes
from waooaw.events.engine.contract import Frame, Tip
from waooaw.events.engine.queue_contract import ClaimRequest, FillItem, QueueItem, RouteSet, SettleRequest
from waooaw.events.engine.redis import RedisEngine, RedisOptions
from waooaw.events.engine.redis.connecting import NodeConnection
from waooaw.events.engine.subscription_contract import (
    Changed,
    DeleteSubscription,
    PauseSubscription,
    PutSubscription,
    Rules,
)
from waooaw.events.errors import EngineUnsuitableError
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.position import BEGINNING, END
from waooaw.events.receipt import Durability, Receipt, ScheduledReceipt
from waooaw.events.retention import TrimPlan
from waooaw.events.retry import RetryPolicy
from waooaw.events.settings import SETTINGS

RUNBOOK: Final = Path(__file__).parents[3] / "docs" / "runbooks" / "redis-access.md"
BUS: Final = "default"
PASSWORD: Final = "CHANGE-ME"
WATCHER_PASSWORD: Final = "CHANGE-ME-TOO"
LOOKS_MAX: Final = 4000
LOOK_SECONDS: Final = 0.005


def rights(user: str) -> list[str]:
    """Return the words behind a user's name in the runbook."""
    lines = re.findall(r"^```acl\n(user \S+ .*)\n```$", RUNBOOK.read_text(), re.MULTILINE)
    return next(line.split()[2:] for line in lines if line.split()[1] == user)


async def denials(connection: NodeConnection) -> list[tuple[bytes, bytes]]:
    """Return what users were denied: the reason and the command, key or channel."""
    rows = [dict(zip(row[::2], row[1::2], strict=True)) for row in await call(connection, "ACL", "LOG")]
    return [(row[b"context"], row[b"object"]) for row in rows]


async def commands(connection: NodeConnection) -> set[str]:
    """Return what was run on a server, by clients and by scripts."""
    lines = (await call(connection, "INFO", "commandstats")).decode().splitlines()
    return {line.partition(":")[0].removeprefix("cmdstat_") for line in lines if line.startswith("cmdstat_")}


@contextlib.asynccontextmanager
async def running(url: str, durability: Durability = "local") -> AsyncIterator[RedisEngine]:
    """Run an engine under the users of the runbook."""
    settings = RedisOptions(
        username="wowevent",
        password=PASSWORD,
        sentinel_username="wowevent-watcher",
        sentinel_password=WATCHER_PASSWORD,
        start_seconds=20.0,
        durability={BUS: durability},
    )
    engine = RedisEngine(url, (BUS,), clock=SystemClock(), identifiers=RandomIdentifiers(), options=settings)
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        yield engine


async def use(engine: RedisEngine) -> Durability:
    """Do all that an engine is asked to do, and see that it was done; return the durability of the receipts."""
    heard: list[Frame | Tip] = []
    stop = engine.listen(BUS, heard.append)
    writer = await engine.register(BUS)
    first, second = entries(6), [entry(id="a", source="/b"), entry(id="a", source="/b")]
    answers = [
        *await engine.append(BUS, writer.writer, 1, writer.routes_version, first),
        *await engine.append(BUS, writer.writer, 2, writer.routes_version, second),
    ]
    receipts = [answer for answer in answers if isinstance(answer, Receipt)]
    assert [receipt.duplicate for receipt in receipts] == [False] * 7 + [True]
    for _ in range(LOOKS_MAX):
        if sum(len(frame.events) for frame in heard if isinstance(frame, Frame)) == 7:
            break
        await asyncio.sleep(LOOK_SECONDS)
    assert sum(len(frame.events) for frame in heard if isinstance(frame, Frame)) == 7
    stop()
    positions = [receipt.position for receipt in receipts[:7]]
    for newest_first in (False, True):
        page = await engine.read(BUS, BEGINNING, through=END, limit=10, newest_first=newest_first)
        assert sorted(event.position for event in page.events) == positions
    assert await engine.get(BUS, positions[0]) is not None
    assert await engine.trim(BUS, TrimPlan(excess_events=2), limit=10) == 2
    await use_queues(engine)
    await use_schedule(engine)
    await engine.begin_epoch(BUS)
    assert [record.replica for record in await engine.beat("one", b"{}")] == ["one"]
    await engine.leave("one")
    return receipts[0].durability


async def use_queues(engine: RedisEngine) -> None:
    """Do all that a queue is asked to do, and see that it was done."""
    rules = Rules(
        lease_seconds=30.0,
        max_in_flight=100,
        max_waiting=8,
        is_keyed=True,
        retry=RetryPolicy(first_seconds=0.0),
        drops_exhausted=False,
    )
    put = PutSubscription(name="work", incarnation="0123456789abcdef", definition=b"{}", rules=rules, start=BEGINNING)
    ((answer,), queue) = (await engine.change_subscriptions(BUS, [put], subscriptions_max=10), put.incarnation)
    assert isinstance(answer, Changed)
    writer = await engine.register(BUS)
    items = tuple(QueueItem(index, 2, f"{index // 2:016x}", 0) for index in range(10))
    sets = [RouteSet(((queue, rules.max_waiting),), items)]
    await engine.append(BUS, writer.writer, 1, writer.routes_version, entries(10), references=sets)
    (state,) = await engine.queue_states(BUS, [queue])
    assert state is not None
    assert (state.counts.overrun, state.fill is None) == (2, False)
    for fill in [state.fill] if state.fill is not None else []:
        item = FillItem(fill.through, "f" * 16, 0)
        await engine.fill(BUS, queue, [item], expected=fill.reached, reached=fill.through)
    held = (await engine.claim(BUS, queue, "one", 1, [ClaimRequest("m", 5)])).leases
    outcomes: list[Outcome] = ["ack", "nack", "reject", "reject", "extend"]
    told = [SettleRequest(lease.reference, lease.nonce, outcome) for lease, outcome in zip(held, outcomes, strict=True)]
    assert all((await engine.settle(BUS, queue, "one", 1, told)).attempts)
    await engine.queue_details(BUS, queue)
    for lease in held:
        await engine.find_reference(BUS, queue, lease.event.position, 2)
    assert await engine.oldest_needed(BUS, [queue]) is not None
    first, second = await engine.dead_letters(BUS, queue, after="", limit=10)
    assert await engine.redrive(BUS, queue, [first.id]) == 1
    assert await engine.purge(BUS, queue, [second.id]) == 1
    given_back = SettleRequest(held[4].reference, held[4].nonce, "release")
    assert (await engine.settle(BUS, queue, "one", 2, [given_back])).attempts == (1,)
    await engine.sweep(BUS, [queue], limit=10, dead_seconds=1, dead_max=10)
    assert (await engine.write_push_record(BUS, queue, b"known", expected=0, tells=True)).version == 1
    assert (await engine.push_record(BUS, queue)).value == b"known"
    await engine.add_push_attempts(BUS, queue, [b"1", b"2", b"3"], kept=2)
    assert await engine.push_attempts(BUS, queue) == (b"3", b"2")
    await engine.seek(BUS, queue, BEGINNING)
    assert len((await engine.routes(BUS)).subscriptions) == 1
    for change in (PauseSubscription(name="work", is_paused=True), DeleteSubscription(name="work")):
        await engine.change_subscriptions(BUS, [change], subscriptions_max=10)
    assert await engine.hold_job(BUS, "fill", 1.0)


async def use_schedule(engine: RedisEngine) -> None:
    """Do all that the schedule is asked to do, and see that it was done."""
    given = [structs.replace(item, delivery=DeliveryAttributes(due_ms=1)) for item in entries(3)]
    receipts = await engine.schedule(BUS, given, events_max=10)
    ids = [receipt.schedule_id for receipt in receipts if isinstance(receipt, ScheduledReceipt)]
    due, _ = await engine.due_events(BUS, limit=10)
    assert sorted(event.id for event in due) == sorted(ids)
    after = (due[0].due_ms, due[0].id)
    assert await engine.scheduled_events(BUS, after=after, limit=10) == (due[1:], 3)
    assert await engine.scheduled_event(BUS, ids[0]) is not None
    assert await engine.cancel_scheduled(BUS, ids[0])
    writer = await engine.register(BUS)
    entry_of = [structs.replace(given[1], schedule_id=ids[1])]
    (receipt,) = await engine.append(BUS, writer.writer, 1, writer.routes_version, entry_of)
    assert isinstance(receipt, Receipt)
    assert await engine.scheduled_events(BUS, after=None, limit=10) == (tuple(e for e in due if e.id == ids[2]), 1)


async def pinged(connection: NodeConnection) -> None:
    """Wait until the live channel has pinged: the engine does that by itself."""
    for _ in range(LOOKS_MAX):
        if "ping" in await commands(connection):
            return
        await asyncio.sleep(LOOK_SECONDS)
    message = "no ping came"
    raise AssertionError(message)


async def single(folder: Path, program: Program, durability: Durability) -> set[str]:
    """Use an engine on one Redis, in database 1; return the commands that were run, of which none was denied."""
    replica = folder / "replica"
    replica.mkdir()
    arguments = ("--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
    with serving(folder, *arguments, program=program) as port:
        async with connected(port) as admin:
            await call(admin, "ACL", "SETUSER", "wowevent", *rights("wowevent"))
            with contextlib.ExitStack() as stack:
                if durability == "replicated":
                    stack.enter_context(serving(replica, "--replicaof", "127.0.0.1", str(port), program=program))
                    await attached(admin)
                async with running(f"redis://127.0.0.1:{port}/1", durability) as engine:
                    assert await use(engine) == durability
                    await pinged(admin)
            assert await denials(admin) == []
            return await commands(admin)


async def attached(admin: NodeConnection) -> None:
    """Wait until a replica keeps up."""
    for _ in range(LOOKS_MAX):
        if b"state=online" in await call(admin, "INFO", "replication"):
            return
        await asyncio.sleep(LOOK_SECONDS)
    message = "no replica came"
    raise AssertionError(message)


async def cluster(folder: Path, program: Program) -> set[str]:
    """Use an engine on a Redis Cluster of one node; return the commands that were run, of which none was denied."""
    arguments = ("--cluster-enabled", "yes", "--cluster-port", str(unused_port()))
    with serving(folder, *arguments, program=program) as port:
        async with connected(port) as admin:
            await call(admin, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            for _ in range(LOOKS_MAX):
                if b"cluster_state:ok" in await call(admin, "CLUSTER", "INFO"):
                    break
                await asyncio.sleep(LOOK_SECONDS)
            await call(admin, "ACL", "SETUSER", "wowevent", *rights("wowevent"))
            async with running(f"redis+cluster://127.0.0.1:{port}") as engine:
                await use(engine)
            assert await denials(admin) == []
            return await commands(admin)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("durability", ["local", "fsync", "replicated"])
async def test_single(tmp_path: Path, program: Program, durability: Durability) -> None:
    """The user of the runbook does all that the engine does, at each durability: Redis has denied it nothing."""
    await single(tmp_path, program, durability)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_cluster(tmp_path: Path, program: Program) -> None:
    """The user of the runbook does all that the engine does on a Redis Cluster."""
    await cluster(tmp_path, program)


async def test_no_more_than_needed(tmp_path: Path) -> None:
    """Each right is used, by the engine or by one of its scripts; and what scripts call is permitted."""
    texts = [item.read_text() for item in files("waooaw.events.engine.redis").joinpath("scripts").iterdir()]
    calls = re.findall(r"\b(?:p?call|each)\('([A-Z]+)'(?:, '([A-Z]+)')?", "\n".join(texts))
    scripted = {f"{name}|{second}".lower() if name == "XGROUP" else name.lower() for name, second in calls}
    permitted = {word[1:] for word in rights("wowevent") if word.startswith("+")}
    assert scripted <= permitted
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    used = await single(folders[0], "redis", "replicated") | await cluster(folders[1], "redis")
    assert permitted - used - scripted == set()


async def test_without_config(tmp_path: Path) -> None:
    """Where CONFIG is not permitted, ``local`` works, and ``fsync`` is refused with the reason."""
    with serving(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as port:
        async with connected(port) as admin:
            await call(admin, "ACL", "SETUSER", "wowevent", *rights("wowevent"), "-config|get")
            async with running(f"redis://127.0.0.1:{port}") as engine:
                assert await use(engine) == "local"
            with pytest.raises(EngineUnsuitableError, match=r"may not run CONFIG GET.*\+config\|get"):
                async with running(f"redis://127.0.0.1:{port}", "fsync"):
                    pass


@contextlib.contextmanager
def watching(folder: Path, port: int) -> Iterator[int]:
    """Run a Sentinel that watches a primary as ``mymaster``, with the runbook's user and no other."""
    own = unused_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"port {own}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor mymaster 127.0.0.1 {port} 1\n"
        f"user wowevent-watcher {' '.join(rights('wowevent-watcher'))}\nuser default off\n"
    )
    command = ["redis-server", str(configuration), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("+monitor" in line for line in process.stdout)
            yield own
        finally:
            process.kill()


async def test_sentinel(tmp_path: Path) -> None:
    """With Sentinel there are two users, each on its own servers, and each has what it needs."""
    with serving(tmp_path) as port, watching(tmp_path, port) as own:
        async with connected(port) as admin:
            await call(admin, "ACL", "SETUSER", "wowevent", *rights("wowevent"))
            async with running(f"redis+sentinel://127.0.0.1:{own}/mymaster") as engine:
                await use(engine)
            assert await denials(admin) == []


async def test_a_file_of_users(tmp_path: Path) -> None:
    """The lines are good as they stand in a file of users."""
    users = tmp_path / "users.acl"
    users.write_text(f"user wowevent {' '.join(rights('wowevent'))}\nuser default on nopass ~* &* +@all\n")
    with serving(tmp_path, "--aclfile", str(users)) as port:
        async with running(f"redis://127.0.0.1:{port}") as engine:
            await use(engine)


async def test_rotation_of_the_password(tmp_path: Path) -> None:
    """Adding a password and taking the old one away interrupts nobody who is connected."""
    with serving(tmp_path) as port:
        async with connected(port) as admin:
            await call(admin, "ACL", "SETUSER", "wowevent", *rights("wowevent"))
            async with running(f"redis://127.0.0.1:{port}") as engine:
                await call(admin, "ACL", "SETUSER", "wowevent", ">new")
                await call(admin, "ACL", "SETUSER", "wowevent", f"<{PASSWORD}")
                await use(engine)
            assert await denials(admin) == []


def test_settings_exist() -> None:
    """Each setting that the runbook names is one, and each of Redis's credentials and files is in it."""
    named = set(re.findall(r"`(WOWEVENT_[A-Z_]+)`", RUNBOOK.read_text()))
    known = {info.variable for info in SETTINGS}
    assert named <= known
    assert {name for name in known if re.search("REDIS.*(NAME|PASSWORD|FILE)$", name)} <= named
