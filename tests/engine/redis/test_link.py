"""A link: answers in order to those who wait, and nothing to those who left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from tests.engine.redis.single_server import CONNECT_SECONDS, call, connected, serving
from waooaw.events.engine.redis.address import Credentials, Node, parse_address
from waooaw.events.engine.redis.connecting import Connector, TlsFiles
from waooaw.events.engine.redis.link import Link
from waooaw.events.engine.redis.script import STATE
from waooaw.events.name_lookup import NameLookup
from waooaw.events.outages import EngineUnavailableError

SECONDS = 10.0


@asynccontextmanager
async def linked(port: int) -> AsyncIterator[Link]:
    """Connect a link to a server on the loopback."""
    node = Node("127.0.0.1", port)
    connector = Connector(parse_address(f"redis://127.0.0.1:{port}", Credentials()), TlsFiles(), NameLookup())
    link = Link(await connector.connect(node, timeout_seconds=CONNECT_SECONDS), node)
    try:
        yield link
    finally:
        await link.close()


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    with serving(tmp_path) as found:
        yield found


async def test_many_callers_share_a_link(port: int) -> None:
    """Each caller gets the answer to its own question, however many ask at once."""
    async with linked(port) as link:
        answers = await asyncio.gather(*(link.call("ECHO", str(n), timeout_seconds=SECONDS) for n in range(500)))

    assert answers == [str(n).encode() for n in range(500)]


async def test_a_refusal_is_its_callers_alone(port: int) -> None:
    """What Redis refuses is raised where it was asked; the questions before and behind it are answered."""
    async with linked(port) as link:
        asked = [link.send(*words, timeout_seconds=SECONDS) for words in (("ECHO", "a"), ("NONSENSE",), ("ECHO", "b"))]
        first, refused, last = await asyncio.gather(*asked, return_exceptions=True)

    assert (first, last) == (b"a", b"b")
    assert isinstance(refused, RedisError)


async def test_who_stops_waiting_disturbs_nobody(port: int) -> None:
    """A cancelled call's answer is dropped when it comes; every other caller still gets its own."""
    async with linked(port) as link:
        for _ in range(50):
            asked = [
                asyncio.create_task(link.call("ECHO", str(number), timeout_seconds=SECONDS)) for number in range(20)
            ]
            await asyncio.sleep(0)
            for task in asked[::3]:
                task.cancel()
            answers = await asyncio.gather(*asked, return_exceptions=True)

            kept = [answer for answer in answers if not isinstance(answer, asyncio.CancelledError)]
            assert kept == [str(number).encode() for number in range(20) if number % 3]
        assert not link.is_broken


async def test_an_overdue_answer_breaks_the_link(port: int) -> None:
    """A server that does not answer in time is away: all who wait are told, and that their outcome is unknown."""
    async with connected(port) as other, linked(port) as link:
        await call(other, "CLIENT", "PAUSE", "5000")
        asked = [link.send("SET", "key", "value", timeout_seconds=0.2) for _ in range(3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)

        assert link.is_broken
    assert [(type(answer), getattr(answer, "outcome", None)) for answer in answers] == [
        (EngineUnavailableError, "unknown")
    ] * 3


async def test_a_broken_link_takes_nothing_more(port: int) -> None:
    """What is asked on a broken link was not sent, and says so."""
    async with linked(port) as link:
        await link.close()
        with pytest.raises(EngineUnavailableError) as refused:
            link.send("PING", timeout_seconds=SECONDS)

    assert refused.value.outcome == "not_stored"


async def test_a_connection_that_ended_unnoticed_takes_nothing_more(port: int) -> None:
    """What is asked after the end of a connection and before its reader's notice breaks the link, and is told so."""
    async with linked(port) as link:
        link._connection._writer.transport.abort()  # type: ignore[union-attr]  # noqa: SLF001 - as a reset does it
        answer = link.send("PING", timeout_seconds=SECONDS)

        assert link.is_broken
        with pytest.raises(EngineUnavailableError):
            await answer


async def test_a_connection_that_redis_ends_breaks_the_link(port: int) -> None:
    """CLIENT KILL is noticed at once, and those who wait learn that their outcome is unknown."""
    async with connected(port) as other, linked(port) as link:
        number = await link.call("CLIENT", "ID", timeout_seconds=SECONDS)
        await call(other, "CLIENT", "KILL", "ID", number)
        await asyncio.wait_for(asyncio.shield(link.broken), SECONDS)

        assert link.is_broken


async def test_a_script_that_redis_forgot_is_loaded(port: int) -> None:
    """After SCRIPT FLUSH, or on a server that was started anew, a script is sent again and run."""
    async with linked(port) as link:
        for _ in range(2):
            assert await link.evaluate(STATE, ("{a}meta", "{a}epochs"), ("",), timeout_seconds=SECONDS) == []
            await link.call("SCRIPT", "FLUSH", timeout_seconds=SECONDS)


async def test_closing_twice_is_harmless(port: int) -> None:
    """A second close does nothing."""
    async with linked(port) as link:
        await link.close()
        await link.close()
