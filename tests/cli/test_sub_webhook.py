"""``wowevent sub``: receivers of webhooks from making to resuming, and secrets that stand in no list of processes."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_process import run, start
from tests.cli.subscribed import ask, publish, unique_name
from tests.http_call import call
from tests.service_process import ServiceProcess
from tests.webhooks.receivers import ALLOWED_NETWORKS, Answer, Receiver, receiving
from waooaw.events.cli.sub_screen import push_facts
from waooaw.events.identifier import new_signing_secret
from waooaw.events.push import secret_bytes


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    variables = {"WOWEVENT_WEBHOOK_ALLOWED_NETWORKS": ALLOWED_NETWORKS}
    with ServiceProcess(tmp_path_factory.mktemp("service"), variables) as running:
        yield running


async def sub(
    service: ServiceProcess, *arguments: str, given: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command beside the receivers of a test."""
    return await asyncio.to_thread(run, "sub", *arguments, url=service.url, given=given, variables=variables)


async def create(
    service: ServiceProcess,
    name: str,
    *arguments: str,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
) -> None:
    """Make a subscription to the type of its name; nothing may go wrong."""
    done = await sub(service, "create", name, "--pattern", name, *arguments, given=given, variables=variables)
    assert (done.returncode, done.stderr) == (0, ""), done


async def show(service: ServiceProcess, name: str) -> dict[str, Any]:
    """Return a subscription as the service tells it."""
    members: dict[str, Any] = (await asyncio.to_thread(ask, service, "GET", f"/v1/subscriptions/{name}")).json()
    return members


async def test_options_make_a_push(service: ServiceProcess, tmp_path: Path) -> None:
    """Each option is a member; what show --json wrote makes it again, secrets kept, options winning."""
    name, file = unique_name(), tmp_path / "shown.json"
    async with receiving() as receiver:
        await create(
            *(service, name, "--push-url", receiver.url, "--push-mode", "batch", "--push-timeout", "5.5"),
            *("--push-concurrency", "4", "--push-rate", "9", "--push-header", "X-A=b=c", "--push-header", "X-B=1"),
            *("--push-authorization", "Bearer first", "--push-secret", new_signing_secret()),
        )
        push = (await show(service, name))["push"]
        told = {
            "url": receiver.url,
            "mode": "batch",
            "headers": {"X-A": "***", "X-B": "***"},
            "authorization": "***",
            "secret": ["***"],
            "handshake": "options",
            "timeout_seconds": 5.5,
            "concurrency": 4,
            "rate": 9,
        }
        assert {member: push[member] for member in told} == told

        file.write_text((await sub(service, "show", name, "--json")).stdout)
        await create(service, name, "--file", str(file), "--push-concurrency", "2", "--push-header", "X-B=2")
        changed = (await show(service, name))["push"]
        assert {member: changed[member] for member in told} == told | {"concurrency": 2}
        await sub(service, "verify", name)
        assert (await sub(service, "test", name)).returncode == 0
        headers = receiver.posts[-1].headers
        assert (headers["X-A"], headers["X-B"], headers["Authorization"]) == ("b=c", "2", "Bearer first")
        assert "webhook-signature" in headers


async def test_secrets_come_by_other_ways(service: ServiceProcess, tmp_path: Path) -> None:
    """A file, standard input and the environment give them; the environment alone makes no webhook."""
    name, file = unique_name(), tmp_path / "secret"
    old, new = new_signing_secret(), new_signing_secret()
    variables = {"WOWEVENT_PUSH_SECRET": f"{new} {old}", "WOWEVENT_PUSH_AUTHORIZATION": "Bearer environment"}
    async with receiving() as receiver:
        await create(service, name, variables=variables)
        assert (await show(service, name))["push"] is None

        await create(service, name, "--push-url", receiver.url, variables=variables)
        await _tried(service, name, receiver)
        assert receiver.posts[-1].headers["Authorization"] == "Bearer environment"
        assert receiver.posts[-1].headers["webhook-signature"].count("v1,") == 2

        file.write_text(f"{new}\n")
        await create(
            *(service, name, "--push-url", receiver.url, "--push-secret-file", str(file)),
            *("--push-authorization-file", "-"),
            given=b"Bearer given\n",
            variables=variables,
        )
        await _tried(service, name, receiver)
        assert receiver.posts[-1].headers["Authorization"] == "Bearer given"
        assert receiver.posts[-1].headers["webhook-signature"].count("v1,") == 1


async def _tried(service: ServiceProcess, name: str, receiver: Receiver) -> None:
    await sub(service, "verify", name)
    count = len(receiver.posts)
    assert (await sub(service, "test", name)).returncode == 0
    assert len(receiver.posts) == count + 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--push-secret", "whsec_hunter2"), "--push-url"),
        (("--push-url", "https://10.0.0.1/"), "WOWEVENT_WEBHOOK_ALLOWED_NETWORKS"),
        (("--push-url", "https://agent.example/", "--push-secret", "whsec_hunter2"), "secret must be whsec_"),
        (("--push-url", "https://agent.example/", "--push-header", "hunter2"), "NAME=VALUE"),
        (("--push-url", "https://agent.example/", "--push-header", "ce-id=hunter2"), "the request itself sets"),
        (("--push-url", "https://agent.example/", "--push-authorization", "hunter2\n"), "Authorization"),
        (("--push-secret-file", "-", "--push-authorization-file", "-"), "standard input"),
        (("--push-secret-file", "/nowhere/secret"), "does not exist"),
        (("--push-url", "https://agent.example/", "--push-concurrency", "0"), "--push-concurrency"),
    ],
)
async def test_what_is_called_wrongly_is_told_in_one_line(
    service: ServiceProcess, arguments: tuple[str, ...], told: str
) -> None:
    """A line that says what to do, without the secret, and nothing is made."""
    name = unique_name()
    done = await sub(service, "create", name, "--pattern", "a", *arguments)
    assert done.returncode in {1, 2}
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert told in done.stderr
    assert "hunter2" not in done.stderr
    assert call(service.url, "GET", f"/v1/subscriptions/{name}").status == 404


async def test_a_receiver_is_verified_tested_and_looked_at(service: ServiceProcess) -> None:
    """Exit codes and lines say whether the receiver consented and took it; the attempts are a table, newest first."""
    name = unique_name()
    async with receiving(consents=False) as receiver:
        await create(service, name, "--push-url", receiver.url)
        refused = await sub(service, "verify", name)
        assert (refused.returncode, refused.stderr) == (1, "")
        assert "\nits receiver is refused: " in refused.stdout
        unheard = await sub(service, "test", name)
        assert (unheard.returncode, unheard.stdout) == (1, "")
        assert "verify" in unheard.stderr

        receiver.consents = True
        verified = await sub(service, "verify", name)
        assert verified.returncode == 0
        assert "\nits receiver is verified" in verified.stdout
        taken = await sub(service, "test", name)
        assert (taken.returncode, taken.stderr) == (0, "")
        assert taken.stdout.startswith("delivered: 204 in ")

        (position,) = await asyncio.to_thread(publish, service, name, 1)
        await receiver.posted(2)
        receiver.script = lambda _: Answer(500, body=b"no \x1b[31mdisk")
        failed = await sub(service, "redeliver", name, position)
        assert failed.returncode == 1
        assert failed.stdout.startswith("failed: 500 in ")
        assert "\x1b" not in failed.stdout
        again = await sub(service, "redeliver", name, position, "--json")
        assert json.loads(again.stdout)["positions"] == [position]
        for wrong, code in (("1-0", 1), ("x", 2)):
            assert (await sub(service, "redeliver", name, wrong)).returncode == code

        table = (await sub(service, "attempts", name)).stdout
        head, first, *_ = table.splitlines()
        assert head.split()[:7] == ["time", "kind", "outcome", "status", "ms", "attempt", "position"]
        assert first.split()[1:4] == ["redelivery", "failed", "500"]
        assert position in first
        assert "\x1b" not in table
        lines = (await sub(service, "attempts", name, "--limit", "2", "--json")).stdout.splitlines()
        assert [json.loads(line)["kind"] for line in lines] == ["redelivery", "redelivery"]

        listed = (await sub(service, "list")).stdout
        (row,) = [line.split() for line in listed.splitlines() if line.startswith(name)]
        assert row[-1] == "verified"
        screen = (await sub(service, "show", name)).stdout
        assert f"pushed to      {receiver.url}, binary" in screen
        assert "receiver       verified since " in screen
        assert "breaker        closed" in screen


async def test_attempts_are_followed(service: ServiceProcess) -> None:
    """Follow writes what there is, then what comes, each once and the oldest first, until Ctrl-C."""
    name = unique_name()
    async with receiving() as receiver:
        await create(service, name, "--push-url", receiver.url)
        await sub(service, "verify", name)
        with start(("sub", "attempts", name, "--follow", "--json"), url=service.url) as process:
            assert process.stdout is not None
            kinds: list[str] = []

            async def read() -> dict[str, Any]:
                assert process.stdout is not None
                members: dict[str, Any] = json.loads(await asyncio.to_thread(process.stdout.readline))
                return members

            while "handshake" not in kinds:
                kinds.append((await read())["kind"])
            await sub(service, "test", name)
            while "test" not in kinds:
                kinds.append((await read())["kind"])
            process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait) == 0
        assert kinds[-1] == "test"
        assert kinds.count("test") == 1


async def test_a_receiver_that_is_gone(service: ServiceProcess) -> None:
    """410 pauses the subscription, which is told as such; resume goes on without that past."""
    name = unique_name()
    async with receiving(lambda _: Answer(410)) as receiver:
        await create(service, name, "--push-url", receiver.url)
        await sub(service, "verify", name)
        await asyncio.to_thread(publish, service, name, 1)
        async with asyncio.timeout(30):
            while (paused := await show(service, name))["state"] != "paused":
                pass
        assert (paused["state"], paused["push"]["stopped"]) == ("paused", "gone")
        assert "stopped        as gone" in (await sub(service, "show", name)).stdout
        (row,) = [line for line in (await sub(service, "list")).stdout.splitlines() if line.startswith(name)]
        assert row.split()[-1] == "gone"
        receiver.script = lambda _: Answer()
        resumed = await sub(service, "resume", name)
        assert resumed.stdout.startswith(f"{name} is active")
        assert "gone" not in resumed.stdout
        await receiver.posted(2)


def test_a_secret_is_made() -> None:
    """One that Standard Webhooks takes, another each time, without a service."""
    first, second = run("sub", "secret"), run("sub", "secret")
    assert first.returncode == 0
    assert len(secret_bytes(first.stdout.strip())) == 32
    assert first.stdout != second.stdout


def test_what_holds_a_receiver_up_is_shown() -> None:
    """Hold, failures and rates stand on the screen while there are any; secrets never do."""
    told = {
        "url": "https://agent.example/",
        "mode": "binary",
        "headers": {"X": "***"},
        "secret": ["***"],
        "concurrency": 4,
        "rate": None,
        "state": "verified",
        "since": "s",
        "reason": None,
        "stopped": None,
        "breaker": "open",
        "held_until": "h",
        "failing_since": "f",
        "allowed_per_minute": 600,
        "in_flight": 3,
    }
    assert dict(push_facts(told)) == {
        "pushed to": "https://agent.example/, binary",
        "receiver": "verified since s",
        "breaker": "open",
        "held until": "h",
        "failing since": "f",
        "in flight": "3 of 4",
        "rate": "- a second; allowed per minute 600",
    }
