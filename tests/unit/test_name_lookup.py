"""Look-ups of names: shared, bounded, and with DNS named as the one that failed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from waooaw.events.name_lookup import LOOK_UPS_MAX, NameLookup
from waooaw.events.outages import NameResolutionError

REDIS: Final = "Redis (port 6379)"


class Dns:
    """A DNS whose answers wait until they are let go, and which counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.all_asked = threading.Semaphore(0)

    def look_up(self, host: str) -> list[str]:
        """Answer once the answers are let go."""
        self.asked.append(host)
        self.all_asked.release()
        assert self.answers.wait(60)
        return ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


@pytest.fixture
def dns() -> Iterator[Dns]:
    server = Dns()
    yield server
    server.answers.set()


async def test_addresses_stand_for_themselves(dns: Dns) -> None:
    """An address is not looked up."""
    names = NameLookup(look_up=dns.look_up)
    for host in ("10.0.0.7", "::1", "fe80::1%eth0"):
        assert await names.addresses(host, REDIS) == (host,)
    assert dns.asked == []


async def test_the_system_is_asked() -> None:
    """A name that the system knows has addresses, each once."""
    found = await NameLookup(20.0).addresses("localhost", REDIS)
    assert set(found) <= {"127.0.0.1", "::1"}
    assert len(found) == len(set(found)) >= 1


async def test_one_look_up_for_all_who_wait(dns: Dns) -> None:
    """All who want to know a name at once wait for one look-up; the next who asks is looked up for again."""
    names = NameLookup(20.0, look_up=dns.look_up)
    dns.answers.set()
    assert (
        await asyncio.gather(*(names.addresses("redis", REDIS) for _ in range(10))) == [("10.0.0.1", "10.0.0.2")] * 10
    )
    assert dns.asked == ["redis"]
    assert await names.addresses("redis", REDIS) == ("10.0.0.1", "10.0.0.2")
    assert dns.asked == ["redis", "redis"]


async def test_a_dns_that_hangs(dns: Dns) -> None:
    """A waiter is told in time that DNS failed; further ones wait for the same look-up, and get its late answer."""
    names = NameLookup(0.01, look_up=dns.look_up)
    for _ in range(5):
        with pytest.raises(
            NameResolutionError,
            match=r"DNS did not answer for 'redis' within 0\.01 s; Redis .* was not asked",
        ):
            await names.addresses("redis", REDIS)
    assert dns.asked == ["redis"]
    patient = NameLookup(20.0, look_up=dns.look_up)
    patient._outstanding = names._outstanding  # noqa: SLF001 - the same look-up, waited for longer
    waiter = asyncio.create_task(patient.addresses("redis", REDIS))
    await asyncio.sleep(0)
    dns.answers.set()
    assert await waiter == ("10.0.0.1", "10.0.0.2")
    assert dns.asked == ["redis"]


@pytest.mark.parametrize("look_ups_max", [1, LOOK_UPS_MAX])
async def test_threads_are_bounded(dns: Dns, look_ups_max: int) -> None:
    """However many names hang, there are no more threads than the limit; the rest is looked up once there is room."""
    names = NameLookup(20.0, look_up=dns.look_up, look_ups_max=look_ups_max)
    hosts = [f"host-{number}" for number in range(look_ups_max + 4)]
    waiters = [asyncio.create_task(names.addresses(host, REDIS)) for host in hosts]
    for _ in range(look_ups_max):
        assert await asyncio.to_thread(dns.all_asked.acquire, timeout=20)
    await asyncio.sleep(0)
    assert sorted(dns.asked) == sorted(hosts[:look_ups_max])
    dns.answers.set()
    assert await asyncio.gather(*waiters) == [("10.0.0.1", "10.0.0.2")] * len(hosts)
    assert sorted(dns.asked) == sorted(hosts)


async def test_the_loops_own_threads_stay_free(dns: Dns) -> None:
    """While names hang, the loop's own threads answer: a look-up takes none of them."""
    names = NameLookup(0.01, look_up=dns.look_up)
    for number in range(LOOK_UPS_MAX):
        with pytest.raises(NameResolutionError):
            await names.addresses(f"host-{number}", REDIS)
    async with asyncio.timeout(20):
        assert await asyncio.to_thread(lambda: 1) == 1


def _unknown(_: str) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _not_a_name(_: str) -> list[str]:
    return [str("a" * 64).encode("idna").decode()]


def _without_address(_: str) -> list[str]:
    return []


@pytest.mark.parametrize(
    ("look_up", "reason"),
    [(_unknown, "Name or service not known"), (_not_a_name, "label"), (_without_address, "the name has no address")],
)
async def test_failures(look_up: Callable[[str], list[str]], reason: str) -> None:
    """A look-up that fails says that DNS failed, why, and that Redis was not asked."""
    with pytest.raises(NameResolutionError, match=f"DNS failed for 'redis' .*{reason}.*Redis .* was not asked"):
        await NameLookup(20.0, look_up=look_up).addresses("redis", REDIS)


async def test_a_waiter_that_is_cancelled(dns: Dns) -> None:
    """One who gives up does not take the answer from the others."""
    names = NameLookup(20.0, look_up=dns.look_up)
    first, second = (asyncio.create_task(names.addresses("redis", REDIS)) for _ in range(2))
    assert await asyncio.to_thread(dns.all_asked.acquire, timeout=20)
    first.cancel()
    dns.answers.set()
    assert await second == ("10.0.0.1", "10.0.0.2")
    assert first.cancelled()


async def test_closing(dns: Dns) -> None:
    """Closing answers all who wait and whoever comes later; twice is harmless, and a late answer harms nobody."""
    names = NameLookup(20.0, look_up=dns.look_up, owner="the caller")
    waiter = asyncio.create_task(names.addresses("redis", REDIS))
    assert await asyncio.to_thread(dns.all_asked.acquire, timeout=20)
    names.close()
    names.close()
    for late in (waiter, asyncio.create_task(names.addresses("other", REDIS))):
        with pytest.raises(NameResolutionError, match="the caller is closing"):
            await late
    assert dns.asked == ["redis"]


def test_a_loop_that_is_gone(dns: Dns) -> None:
    """An answer that comes after the event loop has ended is dropped without a word."""
    unraisable: list[object] = []
    before, threading.excepthook = threading.excepthook, unraisable.append
    try:
        with pytest.raises(NameResolutionError):
            asyncio.run(NameLookup(0.01, look_up=dns.look_up).addresses("redis", REDIS))
        late = [thread for thread in threading.enumerate() if thread.name == "look-up redis"]
        assert [thread.daemon for thread in late] == [True]
        dns.answers.set()
        late[0].join(20)
        assert not late[0].is_alive()
        assert unraisable == []
    finally:
        threading.excepthook = before
