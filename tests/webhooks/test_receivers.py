"""The receivers that webhooks are tested with do what they say."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from tests.webhooks.hostile import BEHAVIOURS, hostile
from tests.webhooks.receiver_process import ReceiverProcess
from tests.webhooks.receivers import Answer, Request, receiving

ORIGIN = {"WebHook-Request-Origin": "wowevent"}


async def test_a_receiver_keeps_and_answers() -> None:
    """It consents as it is told, keeps what is posted, answers by its script, and counts what is under way."""
    together = asyncio.Event()

    async def script(request: Request) -> Answer:
        await together.wait()
        return Answer(418, body=request.body)

    async with receiving(script, allowed_rate="120") as receiver, aiohttp.ClientSession() as session:
        async with session.options(receiver.url, headers=ORIGIN) as answer:
            assert answer.headers["WebHook-Allowed-Origin"] == "wowevent"
            assert answer.headers["WebHook-Allowed-Rate"] == "120"
        posts = [asyncio.create_task(session.post(receiver.url, data=b"%d" % number)) for number in range(3)]
        await receiver.posted(3)
        together.set()
        answers = [await post for post in posts]
        assert [(answer.status, await answer.read()) for answer in answers] == [(418, b"0"), (418, b"1"), (418, b"2")]
        assert (receiver.most_in_flight, receiver.in_flight, len(receiver.handshakes)) == (3, 0, 1)
        receiver.consents = False
        async with session.options(receiver.url, headers=ORIGIN) as answer:
            assert answer.status == 405


async def test_a_receiver_process_remembers_over_kills(tmp_path: Path) -> None:
    """What was answered before a kill is in the log, the port is the same, and its share of requests fails."""
    began = time.monotonic()
    with ReceiverProcess(tmp_path / "log", failing_share=0.5, seed=1) as process:
        async with aiohttp.ClientSession() as session:
            for number in range(40):
                if number == 20:
                    process.kill()
                    with pytest.raises(aiohttp.ClientConnectionError):
                        await session.post(process.url)
                    process.start()
                async with session.post(process.url, headers={"webhook-id": f"in.{number}"}) as answer:
                    assert answer.status == process.lines[-1].status
    assert [line.position for line in process.lines] == [str(number) for number in range(40)]
    assert {line.status for line in process.lines} == {204, 503}
    assert all(began <= line.began <= line.ended <= time.monotonic() for line in process.lines)


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_hostile_receivers_consent(name: str) -> None:
    """Deliveries reach a hostile receiver, because it consents as a good one; then they do not end well."""
    async with hostile(BEHAVIOURS[name]) as receiver, aiohttp.ClientSession(auto_decompress=False) as session:
        if name != "too_early":
            async with session.options(receiver.url, headers=ORIGIN) as answer:
                assert answer.headers["WebHook-Allowed-Origin"] == "*"
        try:
            async with asyncio.timeout(0.3), session.post(receiver.url, allow_redirects=False, data=b"{}") as answer:
                ended = str(answer.status)
                await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            ended = type(error).__name__
        answered = {"gzip_bomb": "200", "redirect": "307", "retry_in_a_lifetime": "429", "close_when_idle": "204"}
        if name in answered:
            assert ended == answered[name]
        elif name != "too_early":
            assert ended.endswith("Error")
        assert receiver.posts == (name != "too_early")
