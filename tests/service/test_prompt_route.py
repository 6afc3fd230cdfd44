"""The way past the router: nobody can tell the first request, which takes the ordinary way, from others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import connected

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[WatchedService]:
    with WatchedService(tmp_path) as found:
        yield found
        found.check()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/events", 200),
        ("/v1/buses/default/events", 200),
        ("/v1/%65vents", 200),
        ("/v1/events?x=1", 400),
        ("/v1/events/", 404),
        ("//v1/events", 404),
        ("/v1/Events", 404),
    ],
)
async def test_every_spelling_is_answered_as_at_first(service: WatchedService, target: str, status: int) -> None:
    """The first, the second and the third request of one address get the same answer."""
    answers = [await service.call("POST", target, JSON, event_bytes(id="one")) for _ in range(3)]

    assert [answer.status for answer in answers] == [status] * 3
    assert {tuple(sorted(name for name, _ in answer.headers)) for answer in answers} == {
        tuple(sorted(name for name, _ in answers[0].headers))
    }


async def test_errors_are_problems_on_either_way(service: WatchedService) -> None:
    """What is wrong with an event is said alike before and after the first request."""
    refused = [await service.call("POST", "/v1/events", JSON, b'{"type":1}') for _ in range(2)]
    await service.call("POST", "/v1/events", JSON, event_bytes())
    refused.append(await service.call("POST", "/v1/events", JSON, b'{"type":1}'))

    assert [answer.status for answer in refused] == [400] * 3
    assert len({answer.body for answer in refused}) == 1


async def test_other_methods_go_to_the_router(service: WatchedService) -> None:
    """Reading the store, and a method that is not served, are not touched."""
    await service.call("POST", "/v1/events", JSON, event_bytes())

    assert (await service.call("GET", "/v1/events")).status == 200
    assert (await service.call("DELETE", "/v1/events")).status == 405


async def test_a_client_that_asks_first_is_told_to_go_on(service: WatchedService) -> None:
    """``Expect: 100-continue`` is answered before the body is sent, also after the first request."""
    await service.call("POST", "/v1/events", JSON, event_bytes())
    body = event_bytes()
    head = f"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    async with connected(service.port) as wire:
        await wire.send(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        first = await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(body)
        rest = await wire.rest()
    service.accepted += 1

    assert first.startswith(b"HTTP/1.1 100 ")
    assert rest.startswith(b"HTTP/1.1 200 ")
