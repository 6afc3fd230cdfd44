"""Hostile URLs of receivers: refused at each of the four places, in a service whose networks inside are shut.

Those that a service would not take are written into its store before it starts, as a release with other rules, or a
service with networks open, may have left them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Final

import pytest

from tests.service.subscribed import Members, look, members_of, path, put, send, until
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService
from tests.webhooks.addresses import REFUSED, UNREADABLE
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.clock import SystemClock
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.service.app import build_engine, bus_options
from waooaw.events.settings import Settings
from waooaw.events.subscription import parse_subscription

NAMES: Final = {url: f"stored{number}" for number, url in enumerate(REFUSED)}
"""The subscriptions that are in the store when the service starts."""

REFUSAL: Final = Refusal(422, "address_refused", "#/push/url")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedService]:
    """A service without open networks, over a store that has subscriptions to each hostile URL."""
    watched = WatchedService(tmp_path_factory.mktemp("service"))
    asyncio.run(_store(Settings(data_directory=watched.data_directory)))
    with watched:
        yield watched
        watched.check()


async def _store(settings: Settings) -> None:
    engine = build_engine(settings, SystemClock())
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        bus = EventBus(
            engine, "default", clock=SystemClock(), identifiers=RandomIdentifiers(), options=bus_options(settings)
        )
        await stack.enter_async_context(bus)
        definitions = [parse_subscription({"patterns": ["none"], "push": {"url": url}}) for url in NAMES]
        await asyncio.gather(
            *[bus.subscriptions.put(name, given) for name, given in zip(NAMES.values(), definitions, strict=True)]
        )


@pytest.mark.parametrize("url", list(REFUSED))
async def test_refused_when_it_is_made_and_changed(service: WatchedService, url: str) -> None:
    """422 with the reason and what an operator could do, and nothing is made or changed."""
    body = {"patterns": ["a"], "push": {"url": url}}
    made = await send(service, "PUT", path("made"), body)
    expect(made, REFUSAL)
    assert REFUSED[url] in made.json()["detail"]
    expect(await service.call("GET", path("made")), Refusal(404, "not_found"))
    before = await put(service, "changed")
    expect(await send(service, "PUT", path("changed"), body), REFUSAL)
    assert await look(service, "changed") == before


@pytest.mark.parametrize("url", list(UNREADABLE))
async def test_what_is_no_url_is_refused(service: WatchedService, url: str) -> None:
    """What cannot be read as a URL is refused by the rules of a definition, or by those of addresses."""
    answer = await send(service, "PUT", path("made"), {"patterns": ["a"], "push": {"url": url}})
    assert (answer.status, answer.code) in {(400, "invalid_parameter"), (422, "address_refused")}
    assert [item["pointer"] for item in answer.json()["errors"]] == ["#/push/url"]
    expect(await service.call("GET", path("made")), Refusal(404, "not_found"))


@pytest.mark.parametrize("url", list(REFUSED))
async def test_refused_when_it_is_verified(service: WatchedService, url: str) -> None:
    """What is in the store already is judged again: 422 with the same reason."""
    answer = await send(service, "POST", path(NAMES[url], "/verify"))
    expect(answer, REFUSAL)
    assert REFUSED[url] in answer.json()["detail"]


async def test_refused_when_it_is_dialled(service: WatchedService) -> None:
    """The handshakes that the service began by itself ended before a connection; nothing is sent to any of them."""
    found: dict[str, Members] = {}

    async def are_refused() -> bool:
        items = members_of(await service.call("GET", "/v1/subscriptions"))["items"]
        found.update({item["name"]: item["push"] for item in items if item["name"] in NAMES.values()})
        return {push["state"] for push in found.values()} == {"refused"}

    await until(are_refused)
    assert len(found) == len(NAMES)
    for url, name in NAMES.items():
        assert REFUSED[url] in found[name]["reason"], url
    (attempt,) = members_of(await service.call("GET", path(NAMES["https://127.0.0.1/"], "/attempts")))["items"]
    assert (attempt["kind"], attempt["outcome"], attempt["status"]) == ("handshake", "failed", None)
    assert "127.0.0.1 is loopback" in attempt["error"]
    expect(await send(service, "POST", path(NAMES["https://127.0.0.1/"], "/test")), Refusal(409, "push_unverified"))
    requests = members_of(await service.call("GET", "/metrics"))["webhooks"]["requests"]
    assert {name for name, count in requests.items() if count} <= {"refused"}
