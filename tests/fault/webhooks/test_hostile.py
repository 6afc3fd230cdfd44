"""Hostile and broken receivers beside good ones: each ends as it must, and costs the others next to nothing."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trustme

from tests.fault.conftest import Report
from tests.fault.parameters import HOSTILE_EVENTS, HOSTILE_ROUNDS, is_long
from tests.fault.webhooks.site import (
    SETTINGS,
    WAIT_SECONDS,
    Published,
    caught_up,
    consented,
    definition,
    memory_bytes,
    publish,
    push_to,
    state_of,
)
from tests.fault.work.workplace import Workplace, workplace
from tests.webhooks.hostile import BEHAVIOURS, HostileReceiver, expired, hang, hostile, self_signed
from tests.webhooks.receivers import HOST, Receiver, receiving
from waooaw.events.push_state import Attempt

MIB: Final = 1024 * 1024
GOOD: Final = 3
RATE: Final = 50.0
TIMEOUT_SECONDS: Final = 1.0
TIMEOUT_MARGIN_SECONDS: Final = 0.5
P99_RATIO_MAX: Final = 2.0
P99_MARGIN_SECONDS: Final = 0.02
"""Of a p99 of some milliseconds: what a machine of two cores with all processes on it adds by chance."""

ROUNDS_MAX: Final = 10
"""A machine that is busy with other things may spoil some; hostile receivers would spoil all."""

TAKING: Final = ("endless_body", "gzip_bomb", "close_when_idle")
"""Those whose events are taken, so that none of them waits for long."""

GROWTH_BYTES_MAX: Final = 64 * MIB
"""Of the service at any moment: meanwhile the page cache of the store (32 MiB) and the ring fill. A single gzip bomb
that was unpacked is 15 times as much."""

FLAT_BYTES_MAX: Final = 16 * MIB
"""From the middle of a long run, when all that is full which fills, to its end."""

ENDLESS_BYTES_MAX: Final = 8 * MIB
"""Of an endless answer until it was cut off: 64 KiB are read, the kernel buffers the rest."""

OWN_SETTINGS: Final = SETTINGS | {"WOWEVENT_RING_BYTES_MAX": str(4 * MIB)}  # full soon: it shall not look like a leak

TLS: Final = ("self_signed", "expired")


@dataclass(frozen=True, slots=True)
class End:
    """How each try at a hostile receiver ends: what is told of it contains one of ``errors``, or there is nothing."""

    outcome: str
    status: int | None = None
    errors: tuple[str, ...] = ()
    kind: str = "delivery"


TOO_LONG: Final = End("failed", None, ("no answer within 1 s",))
ENDS: Final[Mapping[str, End]] = {
    "hang": TOO_LONG,
    "drip": TOO_LONG,
    "endless_body": End("delivered", 200),
    "endless_headers": End("failed", None, ("it sent more than 32768 bytes or 16 interim answers, and no answer",)),
    "gzip_bomb": End("delivered", 200),
    "redirect": End("failed", 307, ("redirects are not followed",)),
    "retry_in_a_lifetime": End("held", 429, ("429 Too Many Requests",)),
    "no_http": End("failed", None, ("not HTTP",)),
    "reset": End("failed", None, ("broke",)),
    "close_when_idle": End("delivered", 204),
    "self_signed": End("failed", None, ("certificate is not accepted",), kind="handshake"),
    "expired": End("failed", None, ("certificate has expired",), kind="handshake"),
}
"""Of all but ``too_early``, whose answer may be taken for that to the first request of a connection."""


@dataclass(slots=True)
class Neighbours:
    """Good and hostile receivers, by the names of their subscriptions."""

    good: dict[str, Receiver] = field(default_factory=dict)
    hostile: dict[str, HostileReceiver] = field(default_factory=dict)

    def p99_seconds(self, published: Published) -> float:
        """Return the p99 of the time from when an event was due to when a good receiver had it, and forget them."""
        waits = sorted(
            request.at - published.due[request.message_id.rpartition(".")[2]]
            for receiver in self.good.values()
            for request in receiver.posts
        )
        for receiver in self.good.values():
            receiver.requests.clear()
        return waits[len(waits) * 99 // 100]


@asynccontextmanager
async def neighbours(authority: trustme.CA) -> AsyncIterator[Neighbours]:
    """Run receivers of all kinds; one of the good ones has a certificate of the authority."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    found = Neighbours()
    async with AsyncExitStack() as stack:
        for number in range(GOOD):
            receiver = receiving(tls=tls if number == 0 else None)
            found.good[f"good-{number}"] = await stack.enter_async_context(receiver)
        for name, behaviour in BEHAVIOURS.items():
            found.hostile[name] = await stack.enter_async_context(hostile(behaviour))
        for name, bad in zip(TLS, (self_signed(), expired(authority)), strict=True):
            found.hostile[name] = await stack.enter_async_context(hostile(hang, tls=bad))
        yield found


async def measure(place: Workplace, found: Neighbours, published: Published) -> float:
    """Publish for a while; return the p99 of the good receivers in seconds."""
    published.due.clear()
    await publish(place.bus, HOSTILE_EVENTS.count, RATE, published, batch=1)
    for receiver in found.good.values():
        while len(receiver.message_ids) < len(published.due):
            await receiver.posted(len(receiver.posts) + 1)
    return found.p99_seconds(published)


def is_bearable(rounds: list[tuple[float, float]]) -> bool:
    """Tell whether the best p99 beside hostile receivers is at most twice the best one without them."""
    without, beside = min(without for without, _ in rounds), min(beside for _, beside in rounds)
    return beside <= P99_RATIO_MAX * without + P99_MARGIN_SECONDS


async def set_paused(place: Workplace, found: Neighbours, *, is_paused: bool) -> None:
    """Have the hostile receivers called, or not."""
    for name in found.hostile:
        subscription = place.bus.subscription(name)
        await (subscription.pause() if is_paused else subscription.resume())


def check_end(name: str, attempts: list[Attempt]) -> None:
    """See that each try at a hostile receiver ended as it must, in time."""
    for attempt in attempts:
        assert attempt.seconds <= TIMEOUT_SECONDS + TIMEOUT_MARGIN_SECONDS, (name, attempt)
    if name not in ENDS:
        return
    end = ENDS[name]
    tries = [attempt for attempt in attempts if attempt.kind == end.kind]
    assert tries, (name, attempts)
    for attempt in tries:
        assert (attempt.outcome, attempt.status) == (end.outcome, end.status), (name, attempt)
        told = attempt.error or ""
        assert any(error in told for error in end.errors) or (not end.errors and not told), (name, attempt)


async def check_ends(place: Workplace, found: Neighbours) -> None:
    """See that each hostile receiver was tried, and ended as it must."""
    for name, receiver in found.hostile.items():
        check_end(name, await place.bus.subscription(name).attempts())
        state = await state_of(place.bus, name)
        assert state.state == ("pending" if name in TLS else "verified"), (name, state)
        assert receiver.posts or name in {*TLS, "too_early"}, name
    held = await state_of(place.bus, "retry_in_a_lifetime")
    assert held.held_until_ms is not None
    assert time.time() * 1000 + 3_500_000 < held.held_until_ms < time.time() * 1000 + 3_600_000
    endless = found.hostile["endless_body"]
    assert endless.sent_bytes / endless.posts < ENDLESS_BYTES_MAX


async def test_hostile_receivers_harm_only_themselves(tmp_path: Path, report: Report) -> None:
    """Each hostile receiver ends as it must; the p99 of good ones at most doubles, and the memory stays flat."""
    authority, published = trustme.CA(), Published()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    settings = OWN_SETTINGS | {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    rounds: list[tuple[float, float]] = []
    resident: list[int] = []
    async with neighbours(authority) as found, workplace(tmp_path, "sqlite", settings=settings) as place:
        service = place.services[0]
        for name, receiver in (found.good | found.hostile).items():
            push = replace(push_to(receiver.url), timeout_seconds=TIMEOUT_SECONDS)
            await place.bus.subscription(name).put(definition(push))
        await consented(place.bus, *found.good, *(found.hostile.keys() - {*TLS, "too_early"}))
        await set_paused(place, found, is_paused=True)
        await measure(place, found, published)  # what is loaded and cached by it is no part of what follows
        before = memory_bytes(service, "VmRSS")
        while len(rounds) < HOSTILE_ROUNDS.count or (not is_bearable(rounds) and len(rounds) < ROUNDS_MAX):
            without = await measure(place, found, published)
            await set_paused(place, found, is_paused=False)
            for name in TAKING:  # what gathered in the pause is a load of its own, whoever the receiver is
                await caught_up(place.bus, name, WAIT_SECONDS)
            rounds.append((without, await measure(place, found, published)))
            resident.append(memory_bytes(service, "VmRSS") - before)
            await check_ends(place, found)
            await set_paused(place, found, is_paused=True)
        peak = memory_bytes(service, "VmHWM") - before
        place.check_logs()
    without, beside = min(without for without, _ in rounds), min(beside for _, beside in rounds)
    report(
        f"{len(found.hostile)} hostile receivers beside {GOOD} good ones, {RATE:g} events/s: p99 of the good "
        f"{without * 1000:.1f} ms without, {beside * 1000:.1f} ms with them (all rounds: "
        + ", ".join([f"{alone * 1000:.1f} and {together * 1000:.1f}" for alone, together in rounds])
        + f"); the service grew by {peak / MIB:.1f} MiB at most, after each round "
        + ", ".join([f"{size / MIB:.1f}" for size in resident])
        + "; "
        + ", ".join([f"{name} {receiver.posts}" for name, receiver in found.hostile.items()])
        + " requests"
    )
    assert is_bearable(rounds), rounds
    assert peak <= GROWTH_BYTES_MAX
    if is_long():
        assert resident[-1] - resident[len(resident) // 2] <= FLAT_BYTES_MAX
