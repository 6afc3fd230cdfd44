"""A real browser: its `EventSource` resumes by itself over the death of the service, and origins are kept apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.http_call import call
from tests.service_process import ServiceProcess

CHROMIUM: Final = "/usr/bin/chromium"
QUIET: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-pings",
    "--disable-features=OptimizationHints,MediaRouter,DialMediaRouteProvider,AutofillServerCommunication",
)
"""The browser talks to the loopback and to nobody else."""

WAIT_MS: Final = 60_000

OPEN_STREAM: Final = """url => new Promise((resolve, reject) => {
    window.seen = [];
    window.opened = 0;
    const stream = window.stream = new EventSource(url);
    stream.onopen = () => { window.opened += 1; resolve("open"); };
    stream.onmessage = message => window.seen.push(JSON.parse(message.data).id);
    stream.addEventListener("gap", message => window.seen.push(JSON.parse(message.data)));
    stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) reject(new Error("closed")); };
})"""

OPEN_SOCKET: Final = """url => new Promise(resolve => {
    const socket = new WebSocket(url);
    socket.onopen = () => { socket.close(); resolve("open"); };
    socket.onerror = () => resolve("refused");
})"""

FETCH: Final = """async ([url, body]) => {
    const sent = await fetch(url, {method: "POST", body, headers: {"Content-Type": "application/json"}});
    const read = await fetch(url);
    return [sent.status, (await read.json()).items.length];
}"""

SNEAK: Final = """([url, body]) =>
    fetch(url, {method: "POST", mode: "no-cors", body, headers: {"Content-Type": "text/plain"}}).then(() => "sent")"""
"""What browsers send to a foreign origin without asking it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield launched
        launched.close()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two, for a service that gives the page and one that is called from it."""
    two = tmp_path / "page", tmp_path / "bus"
    for folder in two:
        folder.mkdir()
    return two


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page()
    opened.set_default_timeout(WAIT_MS)
    yield opened
    opened.close()


def publish(service: ServiceProcess, first: int, count: int) -> list[str]:
    """Publish numbered events; return their ids."""
    names = [f"e{number}" for number in range(first, first + count)]
    batch = [{"id": name, "type": "task.created", "source": "/agents/planner"} for name in names]
    media_type = {"Content-Type": "application/cloudevents-batch+json"}
    answer = call(service.url, "POST", "/v1/events", media_type, json.dumps(batch).encode())
    assert (answer.status, answer.json()["accepted"]) == (200, count)
    return names


def seen(page: Page, count: int) -> Any:  # noqa: ANN401 - what the page kept: ids, and gaps as objects
    """Wait until the page has seen so many messages; return them."""
    page.wait_for_function("count => window.seen.length >= count", arg=count)
    return page.evaluate("window.seen")


def test_an_event_source_resumes_by_itself(tmp_path: Path, page: Page) -> None:
    """The service is killed twice under a reading page: it sees every event once, in order, and no gap."""
    with ServiceProcess(tmp_path) as service:
        published = publish(service, 0, 100)
        page.goto(f"{service.url}/health")
        page.evaluate(OPEN_STREAM, "/v1/stream?from=earliest&pattern=task.*")
        assert seen(page, 100) == published

        for first in (100, 200):
            published += publish(service, first, 50)
            service.restart()
            published += publish(service, first + 50, 50)
            assert seen(page, first + 100) == published

        assert page.evaluate("window.opened") == 3
        published += publish(service, 300, 1)
        assert seen(page, 301) == published


def test_an_event_source_resumes_after_a_drain(tmp_path: Path, page: Page) -> None:
    """A service that goes in peace tells its readers when to come back; they miss nothing, and read nothing twice."""
    with ServiceProcess(tmp_path) as service:
        page.goto(f"{service.url}/health")
        page.evaluate(OPEN_STREAM, "/v1/stream?from=now")
        published = publish(service, 0, 10)

        assert service.terminate() == 0
        service.start()
        published += publish(service, 10, 10)

        assert seen(page, 20) == published


def test_a_page_of_an_allowed_origin_may_call_the_bus(folders: tuple[Path, Path], page: Page) -> None:
    """A page of an origin that is allowed publishes, reads, streams and opens sockets."""
    with ServiceProcess(folders[0]) as home:
        variables = {"WOWEVENT_ALLOWED_ORIGINS": f"http://elsewhere.example,{home.url}"}
        with ServiceProcess(folders[1], variables) as bus:
            page.goto(f"{home.url}/health")

            event = '{"id":"e0","type":"task.created","source":"/page"}'
            assert page.evaluate(FETCH, [f"{bus.url}/v1/events", event]) == [200, 1]
            assert page.evaluate(OPEN_STREAM, f"{bus.url}/v1/stream?from=earliest") == "open"
            assert seen(page, 1) == ["e0"]
            assert page.evaluate(OPEN_SOCKET, f"{bus.url}/v1/ws".replace("http", "ws")) == "open"


def test_a_page_of_a_foreign_origin_may_not(folders: tuple[Path, Path], page: Page) -> None:
    """A page of any other origin can neither publish nor read, and its socket is refused."""
    with ServiceProcess(folders[0]) as home, ServiceProcess(folders[1]) as bus:
        page.goto(f"{home.url}/health")

        for script, argument in (
            (FETCH, [f"{bus.url}/v1/events", "{}"]),
            (OPEN_STREAM, f"{bus.url}/v1/stream?from=earliest"),
        ):
            with pytest.raises(Error, match=r"Failed to fetch|closed"):
                page.evaluate(script, argument)
        assert page.evaluate(OPEN_SOCKET, f"{bus.url}/v1/ws".replace("http", "ws")) == "refused"
        event = '{"type":"task.created","source":"/page"}'
        assert page.evaluate(SNEAK, [f"{bus.url}/v1/events", event]) == "sent"
        assert call(bus.url, "GET", "/v1/log").json()["events"] == 0


def test_a_page_may_open_a_socket_of_its_own_origin(tmp_path: Path, page: Page) -> None:
    """A page of the service's own origin needs no permission."""
    with ServiceProcess(tmp_path) as service:
        page.goto(f"{service.url}/health")

        assert page.evaluate(OPEN_SOCKET, f"{service.url}/v1/ws".replace("http", "ws")) == "open"
