"""``wowevent epoch new``: the last step of a restore, on the embedded engine; what it tells readers afterwards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.command_process import run
from tests.http_call import call
from tests.service.watched_service import event_bytes
from tests.service_process import ServiceProcess

JSON = {"Content-Type": "application/json"}


def test_each_bus_begins_an_epoch(tmp_path: Path) -> None:
    """It prints the epoch of each bus and where it begins; a service that starts then is past it, events and all."""
    service = ServiceProcess(tmp_path, {"WOWEVENT_BUSES": "default,orders"})
    variables = {"WOWEVENT_DATA_DIRECTORY": str(service.data_directory), "WOWEVENT_BUSES": "default,orders"}
    with service:
        receipt = call(service.url, "POST", "/v1/events", JSON, event_bytes("a.b")).json()
        assert service.terminate() == 0
        done = run("epoch", "new", variables=variables)
        one = run("epoch", "new", "--bus", "orders", variables=variables)
        service.start()
        items = call(service.url, "GET", "/v1/events").json()["items"]

    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, one.returncode) == (0, "", 0)
    assert re.fullmatch(rf"default: epoch [0-9a-f]{{16}} begins after {receipt['position']}", lines[0])
    assert re.fullmatch(r"orders: epoch [0-9a-f]{16} begins after 0-0", lines[1])
    assert len(lines) == 2
    assert one.stdout.startswith("orders: epoch ")
    assert [item["position"] for item in items] == [receipt["position"]]


def test_a_reader_that_had_seen_more_is_told(tmp_path: Path) -> None:
    """After a store was put back as it was before, a cursor from then gets a gap; the epoch it knows cannot hide it."""
    service = ServiceProcess(tmp_path)
    variables = {"WOWEVENT_DATA_DIRECTORY": str(service.data_directory)}
    with service:
        call(service.url, "POST", "/v1/events", JSON, event_bytes("a.kept"))
        assert service.terminate() == 0
        saved = {path.name: path.read_bytes() for path in service.data_directory.iterdir()}
        service.start()
        call(service.url, "POST", "/v1/events", JSON, event_bytes("a.lost"))
        cursor = call(service.url, "GET", "/v1/log").json()["cursor"]
        assert service.terminate() == 0
        for path in service.data_directory.iterdir():
            path.unlink()
        for name, content in saved.items():
            (service.data_directory / name).write_bytes(content)
        assert run("epoch", "new", variables=variables).returncode == 0
        service.start()
        page = call(service.url, "GET", f"/v1/events?from={cursor}").json()

    assert page["gap"]["reason"] == "epoch"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--bus", "nobody"), "'nobody' is no bus of WOWEVENT_BUSES"),
        ((), "there is no store at"),
        (("--redis-url", "redis://:secret@127.0.0.1:1", "--redis-start-seconds", "0.2"), "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """A bus that is not served, a store that is not there, a Redis that is away: exit 1, nothing is made."""
    variables = {"WOWEVENT_DATA_DIRECTORY": str(tmp_path / "data")}

    done = run("epoch", "new", *arguments, variables=variables)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert told in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_store_in_use_is_told(own_service: ServiceProcess) -> None:
    """The embedded store of a service that runs is left alone."""
    done = run("epoch", "new", variables={"WOWEVENT_DATA_DIRECTORY": str(own_service.data_directory)})

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
