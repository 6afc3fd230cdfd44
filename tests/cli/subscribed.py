"""Subscriptions for the commands that deal with them: made, filled and looked at over plain HTTP."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from tests.cli.command_process import run
from tests.http_call import Answer, call
from tests.service_process import ServiceProcess

JSON = {"Content-Type": "application/json"}


def unique_name() -> str:
    """Return a name, and an event type, of one test alone: tests share a service."""
    return f"t{uuid4().hex}"


def ask(service: ServiceProcess, method: str, path: str, body: object = None) -> Answer:
    """Call the service; it must not refuse."""
    answer = call(service.url, method, path, JSON, None if body is None else json.dumps(body).encode())
    assert answer.status in {200, 201, 204}, answer.body
    return answer


def make(service: ServiceProcess, name: str, **more: object) -> None:
    """Make a subscription to the type of its name, whose retries do not wait."""
    retry = {"first_seconds": 0, "max_attempts": 3}
    ask(service, "PUT", f"/v1/subscriptions/{name}", {"patterns": [name], "retry": retry, **more})


def publish(service: ServiceProcess, name: str, *datas: object, **more: object) -> list[str]:
    """Publish an event for each value; return where they are."""
    bodies = [{"type": name, "source": "/a", "data": data, **more} for data in datas]
    return [ask(service, "POST", "/v1/events", body).json()["position"] for body in bodies]


def counts(service: ServiceProcess, name: str) -> dict[str, int]:
    """Return where the events of a subscription are."""
    found: dict[str, int] = ask(service, "GET", f"/v1/subscriptions/{name}").json()["counts"]
    return found


def reject(service: ServiceProcess, name: str, *reasons: str) -> None:
    """Reject the next events of a subscription, one for each reason."""
    settle(service, name, "reject", *reasons)


def settle(service: ServiceProcess, name: str, outcome: str, *reasons: str) -> None:
    """Settle the next events of a subscription, one for each reason."""
    path = f"/v1/subscriptions/{name}"
    claimed = ask(service, "POST", f"{path}/claim", {"max": len(reasons), "wait_seconds": 10}).json()["deliveries"]
    outcomes = [
        {"token": delivery["token"], "outcome": outcome, "reason": reason}
        for delivery, reason in zip(claimed, reasons, strict=True)
    ]
    ask(service, "POST", f"{path}/settle", {"outcomes": outcomes})


def lines(*arguments: str, url: str) -> list[dict[str, Any]]:
    """Return the lines of JSON that a command prints; it must succeed."""
    done = run(*arguments, "--json", url=url)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]
