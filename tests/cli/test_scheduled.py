"""``wowevent publish --deliver-at`` and ``wowevent scheduled``: events for later."""

from __future__ import annotations

import json

from tests.cli.command_process import run
from tests.cli.subscribed import lines, unique_name
from tests.service_process import ServiceProcess


def test_an_event_for_later_is_listed_and_cancelled(service: ServiceProcess) -> None:
    """Publishing tells until when it waits and what cancels it; the list has it until then."""
    name = unique_name()
    told = run("publish", name, "--source", "/a", "--id", name, "--deliver-at", "300d", url=service.url)
    (item,) = [item for item in lines("scheduled", "list", url=service.url) if item["event"]["type"] == name]
    table = run("scheduled", "list", url=service.url).stdout
    done = run("scheduled", "cancel", item["id"], url=service.url)
    again = run("scheduled", "cancel", item["id"], url=service.url)

    assert told.stdout == f"{name} is stored until {item['deliverat']} (fsync); cancel it by {item['id']}\n"
    assert [line.split()[:3] for line in table.splitlines() if item["id"] in line] == [
        [item["id"], item["deliverat"], name]
    ]
    assert (done.returncode, done.stdout) == (0, f"{item['id']} is cancelled\n")
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (1, "", 1)


def test_how_an_event_is_delivered_is_said_by_options(service: ServiceProcess) -> None:
    """Priority, key and expiry become the attributes that subscriptions go by; a wrong time is told."""
    name = unique_name()
    options = ("--priority", "high", "--key", "k1", "--expires-in", "1h")
    done = run("publish", name, "--source", "/a", *options, url=service.url)
    wrong = run("publish", name, "--source", "/a", "--deliver-at", "soon", url=service.url)
    twice = run("publish", name, "--source", "/a", "--key", "a", "--attribute", "partitionkey=b", url=service.url)
    event = json.loads(run("events", name, "--json", url=service.url).stdout)

    assert done.returncode == 0
    assert (event["priority"], event["partitionkey"]) == ("high", "k1")
    assert event["expirytime"] > event["time"]
    assert (wrong.returncode, twice.returncode) == (2, 2)
    assert "'soon' is neither a time" in wrong.stderr
    assert "has an option of its own" in twice.stderr
