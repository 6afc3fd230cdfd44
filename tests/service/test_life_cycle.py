"""The life of a service as its platform sees it: starts that fail, drains, signals, switches. Real processes all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.service.frames import opened
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import Answer, connected, request_bytes
from tests.service_process import ServiceProcess

JSON: Final = {"Content-Type": "application/json"}
EVENT: Final = event_bytes("life.event")


def ending(folder: Path, variables: dict[str, str], *, port: int | None = None) -> tuple[int, str]:
    """Start a service that cannot run; return its exit code and what it said."""
    process = ServiceProcess(folder, variables, port=port)
    process.start(wait=False)
    try:
        return process.wait(), process.log_text
    finally:
        process.kill()


def sentence(said: str) -> str:
    """What a service that cannot start says: one line for a person, and nothing else."""
    (line,) = said.splitlines()
    assert line.startswith("wowevent: "), line
    return line.removeprefix("wowevent: ")


# Starting -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PORT", "http", "a whole number"),
        ("PORT", "70000", "between 0 and 65535"),
        ("LOG_LEVEL", "loud", "DEBUG, INFO"),
        ("EVENT_BUS_ENABLED", "perhaps", "true or false"),
        ("WOWEVENT_BODY_BYTES_MAX", "8MiB", "a whole number"),
        ("WOWEVENT_BODY_BYTES_MAX", "-1", "at least 1024"),
        ("WOWEVENT_HEADER_SECONDS", "nan", "a number"),
        ("WOWEVENT_HEADER_SECONDS", "inf", "a number"),
        ("WOWEVENT_STALLED_SECONDS", "1e400", "a number"),
        ("WOWEVENT_HOST", "256.256.256.256", "--host"),
        ("WOWEVENT_HOST", "a..b", "--host"),
        ("WOWEVENT_HOST", "203.0.113.7", "--host"),
        ("WOWEVENT_BUSES", "orders", "must contain default"),
    ],
)
def test_bad_settings(tmp_path: Path, variable: str, value: str, told: str) -> None:
    """A setting outside its rule ends the start with one sentence that names it and says what it may be."""
    code, said = ending(tmp_path, {variable: value})
    assert code == 1
    assert told in sentence(said)
    assert variable in sentence(said) or variable == "WOWEVENT_HOST"


def test_a_port_in_use(tmp_path: Path) -> None:
    """A second service on one port ends with a sentence that names the port; the first one goes on."""
    with ServiceProcess(tmp_path) as first:
        second = tmp_path / "second"
        second.mkdir()
        code, said = ending(second, {}, port=first.port)
        assert code == 1
        assert f"port {first.port} of 127.0.0.1 is in use" in sentence(said)
        assert first.is_running


def test_a_store_in_use(tmp_path: Path) -> None:
    """A second service on one store ends with a sentence that names the process that has it; the first one goes on."""
    with ServiceProcess(tmp_path) as first:
        other = tmp_path / "other"
        other.mkdir()
        code, said = ending(other, {"WOWEVENT_DATA_DIRECTORY": str(first.data_directory)})
        assert code == 1
        assert f"in use by process {first.process_id}" in sentence(said)
        assert first.is_running


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory in which nobody can write, root neither."""
    if os.geteuid():
        pytest.skip("mounting a disk takes root")
    place = tmp_path / "read-only"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_read_only(tmp_path: Path, read_only: Path) -> None:
    """A data directory on a read-only disk ends the start with a sentence that names it."""
    for place in (read_only, read_only / "made"):
        code, said = ending(tmp_path, {"WOWEVENT_DATA_DIRECTORY": str(place)})
        assert code == 1
        assert f"the data directory {place}" in sentence(said.splitlines()[-1])


@pytest.mark.parametrize("name", ["file", "file/below", "link"])
def test_a_data_directory_that_is_none(tmp_path: Path, name: str) -> None:
    """A data directory that is a file, below a file or a dangling link ends the start with a sentence that names it."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link").symlink_to("/nowhere/at/all")
    code, said = ending(tmp_path, {"WOWEVENT_DATA_DIRECTORY": str(tmp_path / name)})
    assert code == 1
    assert f"the data directory {tmp_path / name}" in sentence(said)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be taken for one" * 20, bytes(4096)])
def test_a_store_that_is_none(tmp_path: Path, content: bytes) -> None:
    """A store file of something else ends the start with a sentence, and is left as it is."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "wowevent.db").write_bytes(content)
    code, said = ending(tmp_path, {})
    assert code == 1
    assert "wowevent.db" in sentence(said)
    assert (data / "wowevent.db").read_bytes() == content


def test_unknown_variables(tmp_path: Path) -> None:
    """A variable with our prefix that nothing reads is named in a warning; the service runs."""
    with WatchedService(tmp_path, {"WOWEVENT_BODY_BYTE_MAX": "1", "WOWEVENT_URL": "http://x"}) as service:
        (warning,) = [line for line in service.log_lines if line["event"] == "settings.unknown"]
        assert (warning["level"], warning["variables"]) == ("WARNING", ["WOWEVENT_BODY_BYTE_MAX"])
        service.check()


async def test_a_disabled_bus(tmp_path: Path) -> None:
    """Switched off, the service is ready and says that it is off; whatever needs the bus is 503 ``disabled``."""
    with WatchedService(tmp_path, {"EVENT_BUS_ENABLED": "false"}) as service:
        assert (await service.call("GET", "/ready")).status == 200
        health = await service.call("GET", "/health")
        assert health.status == 200
        assert health.json().items() >= {"status": "degraded", "event_bus": "disabled"}.items()
        assert {"reason", "since"} <= health.json().keys()
        for method, target in [
            ("POST", "/v1/events"),
            ("GET", "/v1/events"),
            ("GET", "/v1/events/1-0"),
            ("GET", "/v1/log"),
            ("GET", "/v1/stream"),
            ("GET", "/v1/ws"),
        ]:
            answer = await service.call(method, target, JSON, EVENT if method == "POST" else None)
            expect(answer, Refusal(503, "disabled"))
            assert int(answer.header("Retry-After") or 0) > 0
        metrics = (await service.call("GET", "/metrics")).json()
        assert metrics["uptime_seconds"] > 0
        assert not any(metrics["totals"].values())
        assert (metrics["buses"], metrics["event_types"], metrics["cluster"]["replicas"]) == ({}, {}, 0)
        exposed = await service.call("GET", "/metrics?format=prometheus")
        assert exposed.status == 200
        assert b"\nwowevent_healthy 0.0\n" in exposed.body
        assert b"\nwowevent_uptime_seconds " in exposed.body
        assert not service.data_directory.exists()
        assert await asyncio.to_thread(service.terminate) == 0
        service.check_log_lines()


async def test_storage_below_its_reserve(tmp_path: Path) -> None:
    """With less free space than the reserve publishes are 503 ``storage_full``, reading works, and health says so."""
    with WatchedService(tmp_path, {"WOWEVENT_STORAGE_RESERVE_BYTES": str(10**18)}) as service:
        answer = await service.publish(EVENT)
        expect(answer, Refusal(503, "storage_full"))
        assert int(answer.header("Retry-After") or 0) > 0
        assert answer.json()["outcome"] == "not_stored"
        batch = await service.publish(b"[%b]" % EVENT, "application/cloudevents-batch+json")
        assert (batch.status, batch.json()["results"][0]["code"]) == (503, "storage_full")
        assert batch.json()["results"][0]["retryable"] is True
        async with opened(service.port) as socket:
            refused = await service.ask(socket, op="publish", id="1", event={"type": "a", "source": "b"})
            assert refused["error"]["code"] == "storage_full"
        health = await service.call("GET", "/health")
        assert health.status == 200
        assert health.json()["status"] == "degraded"
        assert health.json()["reason"].startswith("storage_full")
        assert health.json()["since"]
        assert (await service.call("GET", "/v1/events")).status == 200
        assert (await service.call("GET", "/ready")).status == 200
        service.check()


# Ending ---------------------------------------------------------------------------------------------------------------


async def test_an_idle_service_ends_at_once(tmp_path: Path) -> None:
    """SIGINT means no lame duck; connections that wait for a request are closed, and the exit code is 0."""
    with WatchedService(tmp_path, {"WOWEVENT_DRAIN_LAME_DUCK_SECONDS": "30"}) as service:
        async with connected(service.port) as wire:
            await wire.send(request_bytes("GET", "/health"))
            assert (await wire.answer()).status == 200
            service.signal(signal.SIGINT)
            assert await wire.is_closed_now()
            assert await asyncio.to_thread(service.wait, 10) == 0
        told = [line["event"] for line in service.log_lines if line["event"].startswith("service.")]
        assert told == ["service.started", "service.draining", "service.stopped"]


async def test_a_lame_duck_serves(tmp_path: Path) -> None:
    """After SIGTERM the service is not ready at once, and serves on for a while; each answer closes its connection."""
    with WatchedService(tmp_path, {"WOWEVENT_DRAIN_LAME_DUCK_SECONDS": "1.5"}) as service:
        async with connected(service.port) as kept:
            await kept.send(request_bytes("GET", "/ready"))
            assert (await kept.answer()).status == 200
            service.signal(signal.SIGTERM)
            not_ready = await draining(service)
            assert not_ready.json() == {"status": "not_ready", "reason": "draining"}
            health = await service.call("GET", "/health")
            assert health.status == 200
            assert health.json()["event_bus"] == "draining"
            published = await service.publish(EVENT)
            for answer in (not_ready, health, published):
                assert answer.header("Connection") == "close"
            await kept.send(request_bytes("POST", "/v1/events", JSON, EVENT))
            answer = await kept.answer()
            service.count(answer.json())
            assert (answer.status, answer.header("Connection")) == (200, "close")
            assert await kept.is_closed_now()
        assert await asyncio.to_thread(service.wait, 20) == 0
        service.start()
        service.check()


async def draining(service: WatchedService) -> Answer:
    """The first answer of ``/ready`` that is not 200."""
    while (answer := await service.call("GET", "/ready")).status == 200:
        pass
    assert answer.status == 503
    return answer


async def test_what_was_begun_is_finished(tmp_path: Path) -> None:
    """A request whose head or body is still on its way when accepting ends is served whole."""
    with WatchedService(tmp_path) as service:
        async with connected(service.port) as body, connected(service.port) as head:
            sent = request_bytes("POST", "/v1/events", JSON, EVENT)
            await body.send(sent[:-10])
            await head.send(sent[:20])
            assert (await service.call("GET", "/health")).status == 200  # what was sent before has been read now
            service.signal(signal.SIGTERM)
            await refused(service.port)
            for wire, rest in ((head, sent[20:]), (body, sent[-10:])):
                await wire.send(rest)
                answer = await wire.answer()
                service.count(answer.json())
                assert (answer.status, answer.header("Connection")) == (200, "close")
        assert await asyncio.to_thread(service.wait, 20) == 0
        service.start()
        service.check()


async def refused(port: int) -> None:
    """Return once nobody accepts connections there."""
    with contextlib.suppress(ConnectionError):
        while True:
            async with connected(port):
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("variables", "reason"), [({}, "second signal"), ({"WOWEVENT_DRAIN_GRACE_SECONDS": "1"}, "grace period over")]
)
async def test_a_drain_that_is_cut_short(tmp_path: Path, variables: dict[str, str], reason: str) -> None:
    """A second signal, or the end of the grace period, ends a drain that does not come to its end: exit 1, and said."""
    with WatchedService(tmp_path, variables) as service:
        async with connected(service.port) as wire:
            await wire.send(request_bytes("POST", "/v1/events", JSON, EVENT)[:-1])
            assert (await service.call("GET", "/health")).status == 200
            service.signal(signal.SIGTERM)
            await refused(service.port)
            if reason == "second signal":
                service.signal(signal.SIGTERM)
            assert await asyncio.to_thread(service.wait, 15) == 1
        lines = {line["event"]: line for line in service.log_lines}
        assert lines["service.cut_short"]["reason"] == reason
        assert lines["service.stopped"]["drained"] is False
        service.check_log_lines()
        service.start()
        service.check()
