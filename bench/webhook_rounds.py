"""What the webhook scenarios of both engines do in a round: the bus or a peer posts events to the receiver."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import http.client
import json
import secrets
import sys
import time
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from bench.errors import BenchError
from bench.latency import CONNECTIONS, PacedSender, paced_loop
from bench.load import EVENTS_PATH, Watch, open_connections, run_load
from bench.peer import run_peer
from bench.real_events import real_events
from bench.receipts import post_once
from bench.redis.calls import call
from bench.server import HOST
from bench.webhook_posts import CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.report import Context
    from bench.server import Server

Mode = Literal["structured", "binary"]

ALLOWED: Final = {"WOWEVENT_WEBHOOK_ALLOWED_NETWORKS": f"{HOST}/32"}
PER_SECOND_TARGET: Final = 3000
"""Deliveries: a round has as many as take its seconds at this rate."""

_EVENTS: Final = 100
_PATTERN: Final = "github.*"
_STAMPED_PATTERN: Final = "bench.*"
_SECONDS_MAX: Final = 120
_STATE_SECONDS_MAX: Final = 15.0
_POLL_SECONDS: Final = 0.02
_NANOSECONDS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What one round saw: `count` events, each in one request of its own."""

    count: int
    seconds: float
    """From the first request that arrived to the last."""
    sender_cpu_seconds: float
    receiver_cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedDelays:
    """What one round of paced publishing saw after its warm-up, in seconds for each event."""

    receipt: list[float]
    late: list[float]
    """How long after its deadline each publish was sent: the generator's own error."""


@contextlib.contextmanager
def running_receiver(context: Context) -> Iterator[Server]:
    """Run the receiver on the load generator's core, so that who posts has a core of its own."""
    launcher = dataclasses.replace(context.launcher, core=context.cores.load)
    command = [sys.executable, "-m", "bench.webhook_receiver"]
    with launcher.running("receiver", lambda *_: command, is_ready=_answers) as server:
        yield server


def count_of(context: Context) -> int:
    """Return how many events a round posts."""
    return -(-int(PER_SECOND_TARGET * context.seconds) // _EVENTS) * _EVENTS


def events_file(context: Context) -> Path:
    """Write the events that peers post, as the bus completes them: each with an id of its own and a time."""
    events = real_events(_EVENTS)
    lines = [
        b'%b,"id":"019aa7e2-5d1f-7c3e-8a51-%012x","time":"2026-11-24T17:30:00.000000Z"}'
        % (events[number % _EVENTS][:-1], number)
        for number in range(count_of(context))
    ]
    path = context.directory / "webhooks.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def posted_by_bus(context: Context, bus: Server, receiver: Server, mode: Mode) -> Posted:
    """Have events wait in a subscription, let the bus deliver them, and compare all counts.

    Raises BenchError where the receiver got another number, or one of them twice.
    """
    name, count = _new_name(), count_of(context)
    path = f"/v1/subscriptions/{name}"
    subscribe(bus, receiver, name, _PATTERN, mode)
    call(bus, "POST", f"{path}/pause")
    body = b"\n".join(real_events(_EVENTS)) + b"\n"
    for _ in range(count // _EVENTS):
        post_once(bus, EVENTS_PATH, "application/x-ndjson", body)
    sender_cpu, receiver_cpu = bus.cpu_seconds(), receiver.cpu_seconds()
    call(bus, "POST", f"{path}/resume")
    told = arrived(receiver, name, count)
    sender_cpu, receiver_cpu = bus.cpu_seconds() - sender_cpu, receiver.cpu_seconds() - receiver_cpu
    _wait_for(bus, path, "all to be acked", lambda members: members["counts"]["acked"] == count)
    call(bus, "DELETE", path)
    return Posted(
        count=count, seconds=told["seconds"], sender_cpu_seconds=sender_cpu, receiver_cpu_seconds=receiver_cpu
    )


def posted_by_peer(
    context: Context, module: str, receiver: Server, events: Path, store: Server | None = None
) -> Posted:
    """Have a peer post as many events from the bus' own core, and compare the counts."""
    name, count = _new_name(), count_of(context)
    arguments = ["--url", f"http://{receiver.host_header}/{name}", "--events", events, "--count", count]
    if store is not None:
        arguments += ["--port", store.port]
    receiver_cpu = receiver.cpu_seconds()
    said = run_peer(module, arguments, context.cores.server)
    receiver_cpu = receiver.cpu_seconds() - receiver_cpu
    return Posted(
        count=count,
        seconds=arrived(receiver, name, count)["seconds"],
        sender_cpu_seconds=said["cpu_seconds"],
        receiver_cpu_seconds=receiver_cpu,
    )


def subscribe(bus: Server, receiver: Server, name: str, pattern: str, mode: Mode) -> None:
    """Make a subscription that is pushed, signed and with a handshake; return when the receiver has consented."""
    path = f"/v1/subscriptions/{name}"
    push = {
        "url": f"http://{receiver.host_header}/{name}",
        "mode": mode,
        "secret": "whsec_" + b64encode(secrets.token_bytes(32)).decode(),
        "handshake": "options",
        "concurrency": CONCURRENCY,
    }
    call(bus, "PUT", path, {"patterns": [pattern], "push": push})
    _wait_for(bus, path, "the receiver to be verified", lambda members: members["push"]["state"] == "verified")


def arrived(receiver: Server, name: str, count: int) -> dict[str, Any]:
    """Return what the receiver tells when `count` events have arrived. Raises BenchError unless each came once."""
    connection = http.client.HTTPConnection(HOST, receiver.port, timeout=_SECONDS_MAX)
    try:
        connection.request("GET", f"/{name}?count={count}")
        told: dict[str, Any] = json.loads(connection.getresponse().read())
    except TimeoutError:
        raise BenchError(f"not all of {count} events were posted within {_SECONDS_MAX} s") from None
    finally:
        connection.close()
    if not told["ids"] == told["requests"] == count:
        raise BenchError(f"of {count} events {told['ids']} were posted, in {told['requests']} requests")
    return told


def posted_delays(context: Context, bus: Server, receiver: Server, mode: Mode) -> PostedDelays:
    """Publish a thousand events a second for one round; return how long each took from its sending to its arrival."""
    name = _new_name()
    subscribe(bus, receiver, name, _STAMPED_PATTERN, mode)
    sender, warm = run_load(functools.partial(_publish, context, bus), loop_factory=paced_loop)
    told = arrived(receiver, name, len(sender.sent))
    if sorted(sent for sent, _ in told["delays"]) != sender.sent:
        raise BenchError("the events posted are not those that were published")
    call(bus, "DELETE", f"/v1/subscriptions/{name}")
    measured_from = sender.sent[warm]
    return PostedDelays(
        receipt=[(at - sent) / _NANOSECONDS for sent, at in told["delays"] if sent >= measured_from],
        late=sender.late[warm:],
    )


async def _publish(context: Context, bus: Server) -> tuple[PacedSender, int]:
    """Publish at absolute deadlines; return the sender, and how many events were its warm-up."""
    watch, sender = Watch(), PacedSender(bus)
    connections = await open_connections(bus, CONNECTIONS, watch, sender.answered)
    sending = asyncio.create_task(sender.run(connections))
    try:
        await watch.sleep(context.warm_up_seconds)
        warm = len(sender.sent)
        await watch.sleep(context.seconds)
        sender.stop()
        await sending
        await watch.until(lambda: len(sender.answer) == len(sender.sent), "the last answers")
    finally:
        sending.cancel()
        for connection in connections:
            connection.close()
    return sender, warm


def _new_name() -> str:
    """Return a name for a subscription, and for the box at the receiver, that no other round has."""
    return f"webhooks-{secrets.token_hex(8)}"


def _wait_for(bus: Server, path: str, what: str, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Return when a subscription is as wanted. Raises BenchError with what it is after a while."""
    until = time.monotonic() + _STATE_SECONDS_MAX
    while not holds(members := call(bus, "GET", path)):
        if time.monotonic() >= until:
            raise BenchError(f"after {_STATE_SECONDS_MAX:.0f} s still waiting for {what}: {members}")
        time.sleep(_POLL_SECONDS)


def _answers(port: int) -> bool:
    """Tell whether the receiver answers; a refused connection is the usual no of a process that still starts."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
