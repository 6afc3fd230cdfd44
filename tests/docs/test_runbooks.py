"""The runbook of Redis is true: Redis takes its settings, the service is content with them, and nothing is left out."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.architecture.source import product
from tests.docs.blocks import RUNBOOK, read_blocks
from tests.docs.test_guide import TEXT, calls, log_lines, words
from tests.http_call import call
from tests.redis_servers.port import LOOPBACK, unused_port
from tests.redis_servers.server import RedisServer
from tests.redis_servers.topology import until
from tests.service_process import ServiceProcess
from waooaw.events import outages
from waooaw.events.errors import EngineUnreachableError, EngineUnsuitableError, WowEventError
from waooaw.events.outages import UnavailableError

RUNBOOK_TEXT: Final = RUNBOOK.read_text("utf-8")
SUBSCRIPTIONS_TEXT: Final = RUNBOOK.with_name("subscriptions.md").read_text("utf-8")
WEBHOOKS_TEXT: Final = RUNBOOK.with_name("webhooks.md").read_text("utf-8")

NOT_OF_REDIS: Final = {"closed", "disabled", "draining", "storage_failed", "unavailable", "writer_unknown"}
"""Codes of the embedded engine, of the process itself, and those that pass between the bus and its engine."""


def settings(name: str) -> dict[str, str]:
    """Return the settings of a block of the runbook, comments left out. Redis's own host is this one."""
    (text,) = [block.text for block in read_blocks(RUNBOOK) if (block.language, block.label) == ("conf", name)]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pairs = [line.rpartition(" ") if line.startswith("sentinel ") else line.partition(" ") for line in lines]
    return {key.replace("10.0.0.11", LOOPBACK): value for key, _, value in pairs}


@pytest.mark.parametrize("level", ["local", "fsync", "replicated"])
async def test_the_service_is_content_with_the_settings(level: str, tmp_path: Path) -> None:
    """Redis set up as the runbook says gives each level, and nothing to warn of."""
    lines = settings("every") | settings(level)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(RedisServer(tmp_path / "redis", settings=lines))
        if level == "replicated":
            replica = RedisServer(tmp_path / "replica", settings=lines | {"replicaof": f"{LOOPBACK} {redis.port}"})
            await stack.enter_async_context(replica)
            await until(lambda: _keeps_up(redis), "replica that keeps up")
        service = ServiceProcess(tmp_path, {"REDIS_URL": redis.url, "WOWEVENT_DURABILITY": level})
        stack.callback(service.kill)
        await asyncio.to_thread(service.start)
        published = await asyncio.to_thread(_publish, service)
        health = await asyncio.to_thread(_get, service, "/health?details=true")

    assert published["durability"] == level
    assert health["status"] == "healthy"
    assert health["warnings"] == []


async def _keeps_up(redis: RedisServer) -> bool:
    replication = await redis.information("replication")
    return replication["min_slaves_good_slaves"] == "1"


def _publish(service: ServiceProcess) -> Any:  # noqa: ANN401 - whatever JSON has
    answer = call(
        service.url, "POST", "/v1/events", {"Content-Type": "application/json"}, b'{"type":"a","source":"/a"}'
    )
    return json.loads(answer.body)


def _get(service: ServiceProcess, path: str) -> Any:  # noqa: ANN401 - as above
    return json.loads(call(service.url, "GET", path).body)


async def test_sentinel_takes_its_settings(tmp_path: Path) -> None:
    """A Sentinel with the settings of the runbook watches the service that the address names."""
    lines = settings("sentinel") | {"port": str(unused_port())}
    sentinel = RedisServer(tmp_path / "sentinel", settings=lines, port=int(lines["port"]), is_sentinel=True)
    async with sentinel:
        (reply,) = await sentinel.cli("SENTINEL", "MASTERS")
    watched = dict(zip(reply[::2], reply[1::2], strict=True))

    assert f"/{watched['name']}\n" in RUNBOOK_TEXT
    assert (watched["quorum"], watched["down-after-milliseconds"], watched["parallel-syncs"]) == ("2", "3000", "1")


async def test_a_cluster_takes_its_settings(tmp_path: Path) -> None:
    """A node with the settings of the runbook is one of a Cluster, and serves while others are away."""
    lines = settings("every") | settings("cluster") | {"cluster-port": str(unused_port())}
    async with RedisServer(tmp_path / "node", settings=lines) as node:
        found = await node.cli("CONFIG", "GET", "cluster-require-full-coverage")

    assert found[1] == "no"


def _kinds(kind: type[WowEventError]) -> Iterator[type[WowEventError]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from _kinds(sub)


def test_every_code_says_what_to_do() -> None:
    """Each code that Redis can be the reason of has its row in the runbook, and each row is of a code."""
    kinds = [kind for kind in _kinds(UnavailableError) if kind.__module__ == outages.__name__]
    at_start = {EngineUnreachableError.code, EngineUnsuitableError.code}
    codes = ({kind.code for kind in kinds} | at_start) - NOT_OF_REDIS
    section = RUNBOOK_TEXT.partition("| code |")[2].partition("\n\n")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == codes


def test_every_code_of_a_publish_is_in_the_guide() -> None:
    """The table of the guide that says what becomes of a publish has each code that Redis can be the reason of."""
    kinds = [kind for kind in _kinds(UnavailableError) if kind.__module__ == outages.__name__]
    section = TEXT.partition("| Code | What has happened |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]

    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == {kind.code for kind in kinds} - NOT_OF_REDIS


def test_every_log_line_of_redis_says_what_to_do() -> None:
    """Each log line of the engine on Redis and of replicas is in the runbook."""
    written = {
        word
        for source in product()
        for name, found in calls(source)
        if name in {"info", "warning", "error", "exception"} and found.args
        for word in words(found.args[0])
        if re.fullmatch(r"(redis|replica|retention)\.[a-z_]+", word)
    }

    assert len(written) > 5
    assert {word for word in written if f"`{word}`" not in RUNBOOK_TEXT} == set()


def test_every_log_line_of_subscriptions_says_what_to_do() -> None:
    """Each log line about subscriptions, deliveries, dead letters and the schedule is in their runbook."""
    told = {line for line, _ in log_lines() if re.match(r"(subscription|delivery|dead_letter|schedule)\.", line)}

    assert len(told) > 20
    assert {line for line in told if f"`{line}`" not in SUBSCRIPTIONS_TEXT} == set()


def test_every_log_line_of_webhooks_says_what_to_do() -> None:
    """The runbook of webhooks has each log line about receivers, and none that is not written."""
    told = {line for line, _ in log_lines() if line.startswith("webhook.")}

    assert len(told) > 5
    assert set(re.findall(r"`(webhook\.[a-z_]+)`", WEBHOOKS_TEXT)) == told
