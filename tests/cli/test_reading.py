"""``wowevent events``, ``tail`` and ``status``: what people and scripts see."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import IO
from uuid import uuid4

import pytest

from tests.cli.command_process import SECONDS_MAX, run, start
from tests.redis_servers.port import unused_port
from tests.service_process import ServiceProcess
from waooaw.events import Event, Receipt, connect
from waooaw.events.cli.status import rows
from waooaw.events.cursor import Cursor, encode_cursor
from waooaw.events.position import format_position, make_position


def unique_type() -> str:
    """Return an event type of this test alone: tests share a service."""
    return f"test.t{uuid4().hex}"


async def publish(service: ServiceProcess, event_type: str, numbers: range) -> list[str]:
    """Publish an event for each number; return their positions as the wire spells them."""
    async with connect(service.url) as bus:
        answers = await bus.publish_many(
            [Event(type=event_type, source=f"/agents/{number % 2}", data=number) for number in numbers]
        )
    return [format_position(answer.position) for answer in answers if isinstance(answer, Receipt)]


def data_of(output: str) -> list[int]:
    """Return the data of events printed as lines of JSON."""
    return [json.loads(line)["data"] for line in output.splitlines()]


def read_lines(stream: IO[bytes] | None, count: int) -> list[str]:
    """Return the next lines of a process that is running."""
    assert stream is not None
    return [stream.readline().decode() for _ in range(count)]


# events ---------------------------------------------------------------------------------------------------------------


async def test_events_are_selected_as_over_http(service: ServiceProcess) -> None:
    """Patterns, source, range, limit and order select what is printed."""
    kind = unique_type()
    positions = await publish(service, f"{kind}.a", range(6))
    await publish(service, f"{kind}.b", range(6, 8))

    def listed(*arguments: str) -> list[int]:
        done = run("events", "--json", *arguments, url=service.url)
        assert done.returncode == 0, done.stderr
        return data_of(done.stdout)

    assert listed(f"{kind}.*") == list(range(8))
    assert listed(f"{kind}.a", "--pattern", f"{kind}.b") == list(range(8))
    assert listed(f"{kind}.a", "--source", "/agents/1") == [1, 3, 5]
    assert listed(f"{kind}.*", "--from", positions[4]) == [4, 5, 6, 7]
    assert listed(f"{kind}.*", "--to", positions[2]) == [0, 1]
    assert listed(f"{kind}.*", "--limit", "3") == [0, 1, 2]
    assert listed(f"{kind}.*", "--limit", "3", "--reverse") == [7, 6, 5]
    assert listed(f"{kind}.*", "--from", "15m") == list(range(8))
    assert listed(f"{kind}.*", "--to", "15m") == []


async def test_all_events_are_paged_through(service: ServiceProcess) -> None:
    """--all prints every event once, in either order, beyond what a page holds."""
    event_type = unique_type()
    await publish(service, event_type, range(2500))

    for order, expected in (((), list(range(2500))), (("--reverse",), list(range(2499, -1, -1)))):
        assert data_of(run("events", "--json", "--all", event_type, *order, url=service.url).stdout) == expected


async def test_a_limit_that_cuts_says_how_to_go_on(service: ServiceProcess) -> None:
    """The hint on standard error is a cursor that goes on without a gap or a repetition."""
    event_type = unique_type()
    await publish(service, event_type, range(5))
    first = run("events", "--json", event_type, "--limit", "3", url=service.url)
    cursor = first.stderr.split()[-1]
    second = run("events", "--json", event_type, "--from", cursor, url=service.url)

    assert data_of(first.stdout) == [0, 1, 2]
    assert data_of(second.stdout) == [3, 4]
    assert second.stderr == ""


async def test_a_table_for_people(service: ServiceProcess) -> None:
    """Without --json a heading and a line an event: position, type, source and data are there to be read."""
    event_type = unique_type()
    (position,) = await publish(service, event_type, range(41, 42))
    done = run("events", event_type, url=service.url)

    heading, line = done.stdout.splitlines()
    assert heading.split() == ["position", "time", "type", "source", "id", "data"]
    assert line.split()[0] == position
    assert line.split()[2:4] == [event_type, "/agents/1"]
    assert line.split()[-1] == "41"


async def test_what_would_steer_a_terminal_is_replaced(service: ServiceProcess) -> None:
    """Control characters in an event reach no terminal, neither from a table nor from a tail."""
    event_type = unique_type()
    async with connect(service.url) as bus:
        await bus.publish(Event(type=event_type, source="/a", data="\x9b31m\u202e[bold]"))
    table = run("events", event_type, url=service.url).stdout
    line = run("tail", event_type, "--from", "earliest", "--count", "1", url=service.url).stdout

    for output in (table, line):
        assert "\N{REPLACEMENT CHARACTER}31m\N{REPLACEMENT CHARACTER}[bold]" in output
        assert "\x9b" not in output
        assert "\u202e" not in output


async def test_a_reader_that_has_seen_enough_is_no_error(service: ServiceProcess) -> None:
    """``wowevent events | head -1`` prints a line and nothing on standard error."""
    event_type = unique_type()
    await publish(service, event_type, range(5000))
    with start(["events", "--json", "--all", event_type], url=service.url) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        (line,) = read_lines(listing.stdout, 1)
        listing.stdout.close()
        told = listing.stderr.read()
        code = listing.wait(SECONDS_MAX)

    assert json.loads(line)["data"] == 0
    assert (code, told) == (0, b"")


@pytest.mark.parametrize("command", ["events", "tail"])
@pytest.mark.parametrize(
    "arguments", [("a[b",), ("--from", "nonsense"), ("--pattern", ""), ("--from",), ("--limit", "0"), ("--count", "0")]
)
def test_a_wrong_call_is_told_in_one_line(service: ServiceProcess, command: str, arguments: tuple[str, ...]) -> None:
    """A bad pattern, place or number is exit code 2 and one line."""
    done = run(command, *arguments, url=service.url)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("arguments", [("events",), ("tail",), ("status",)])
def test_a_service_that_is_away_is_exit_code_3(arguments: tuple[str, ...]) -> None:
    """Every command that asks a service tells that none is there."""
    done = run(*arguments, url=f"http://127.0.0.1:{unused_port()}")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "wowevent serve" in done.stderr


# tail -----------------------------------------------------------------------------------------------------------------


async def test_tail_prints_what_was_and_what_comes(service: ServiceProcess) -> None:
    """History, then live, a line an event; an interrupt ends it quietly with exit code 0."""
    event_type = unique_type()
    await publish(service, event_type, range(2))
    with start(["tail", event_type, "--from", "1h"], url=service.url) as tailing:
        history = read_lines(tailing.stdout, 2)
        await publish(service, event_type, range(2, 3))
        live = read_lines(tailing.stdout, 1)
        tailing.send_signal(signal.SIGINT)
        output, told = tailing.communicate(timeout=SECONDS_MAX)

    assert [line.split()[1:3] for line in (*history, *live)] == [[event_type, f"/agents/{n % 2}"] for n in range(3)]
    assert [line.split()[-1] for line in (*history, *live)] == ["0", "1", "2"]
    assert (tailing.returncode, output, told) == (0, b"", b"")


async def test_tail_ends_after_a_count(service: ServiceProcess) -> None:
    """--count ends it by itself, and --json prints events whole."""
    event_type = unique_type()
    await publish(service, event_type, range(5))
    done = run("tail", event_type, "--from", "earliest", "--count", "3", "--json", url=service.url)

    assert (done.returncode, data_of(done.stdout), done.stderr) == (0, [0, 1, 2], "")


async def test_tail_tells_a_gap(service: ServiceProcess) -> None:
    """Events that are gone are told on standard error, and the rest is printed."""
    event_type = unique_type()
    (position,) = await publish(service, event_type, range(1))
    token = encode_cursor("default", Cursor(4711, make_position(int(position.split("-")[0]))))
    done = run("tail", event_type, "--from", token, "--count", "1", "--json", url=service.url)

    assert data_of(done.stdout) == [0]
    assert done.stderr.startswith("wowevent: gap: events are missing here")


async def test_tail_over_a_kill_of_the_service(own_service: ServiceProcess) -> None:
    """With the service killed and started again, tail tells it, and prints every event once."""
    with start(["tail", "--json", "--from", "earliest"], url=own_service.url) as tailing:
        await publish(own_service, "a", range(100))
        lines = read_lines(tailing.stdout, 100)
        own_service.kill()
        lost = read_lines(tailing.stderr, 1)
        own_service.start()
        await publish(own_service, "a", range(100, 200))
        lines += read_lines(tailing.stdout, 100)
        tailing.send_signal(signal.SIGINT)
        output, told = tailing.communicate(timeout=SECONDS_MAX)

    assert data_of("".join(lines)) == list(range(200))
    assert (tailing.returncode, output) == (0, b"")
    assert "trying again" in lost[0]
    assert told.decode() == f"wowevent: connected to {own_service.url} again, going on where the stream broke\n"


async def test_tail_feeds_publish(service: ServiceProcess, own_service: ServiceProcess) -> None:
    """What tail prints as JSON is what publish reads: events go from one bus to another as they are."""
    event_type = unique_type()
    await publish(service, event_type, range(10))
    tailed = run("tail", event_type, "--from", "earliest", "--count", "10", "--json", url=service.url)
    published = run("publish", url=own_service.url, given=tailed.stdout.encode())
    copied = run("events", "--json", url=own_service.url)

    assert published.stdout == "10 accepted, 0 refused\n"
    assert copied.stdout == tailed.stdout


# status ---------------------------------------------------------------------------------------------------------------


async def test_a_healthy_service_is_exit_code_0(service: ServiceProcess) -> None:
    """One screen: health, engine, durability, log and rates, without a terminal."""
    await publish(service, unique_type(), range(3))
    done = run("status", url=service.url)
    shown = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if not line.startswith("event bus"))

    assert (done.returncode, done.stderr) == (0, "")
    assert shown["status"] == "healthy"
    assert shown["engine"] == "sqlite, durability fsync"
    assert shown["store"] == str(service.data_directory / "wowevent.db")
    assert {"log", "range", "publishes", "deliveries", "errors", "latency", "subscribers"} <= shown.keys()
    assert len(done.stdout.splitlines()) <= 24


def test_status_tells_dead_letters_and_who_is_unhealthy() -> None:
    """How many are dead and where most of them are, and each unhealthy subscriber with its reason."""
    dead = {"total": 1003, "oldest_seconds": 90.0, "subscriptions": {"orders": 1000, "mail": 3}}
    worst = [{"name": "subscription orders", "error_rate": 0.5, "p95": None, "reason": "50 % of tries fail"}]
    rate = {"per_second": 0.0}
    metrics = {
        "totals": {"publishes": 0, "deliveries": 0, "errors": 0},
        "throughput": {"publishes": rate, "deliveries": rate},
        "latency": {"p50": None},
        "subscribers": {"total": 1, "health": {"unhealthy": 1}, "unhealthy": worst},
    }
    health = {"status": "healthy", "event_bus": "running", "dead_letters": dead}
    shown = dict(rows("http://x", "default", {"health": health, "log": None, "metrics": metrics}))

    assert shown["dead letters"] == "1,003, the oldest 1 min 30 s ago: orders 1,000, mail 3"
    assert shown["unhealthy"] == "subscription orders: 50 % of tries fail"


def test_status_as_json(service: ServiceProcess) -> None:
    """--json has what the service answers about health, log and metrics."""
    done = run("status", "--json", url=service.url)
    status = json.loads(done.stdout)

    assert (done.returncode, status["health"]["status"]) == (0, "healthy")
    assert status["log"]["size_bytes"] >= 0
    assert "totals" in status["metrics"]


def test_status_finds_the_service_of_its_own_machine(service: ServiceProcess) -> None:
    """Without an address the port that the environment gives the service is asked, as in its container."""
    done = run("status", variables={"PORT": str(service.port)})

    assert (done.returncode, done.stdout.split()[1]) == (0, f"http://127.0.0.1:{service.port}")


def test_a_degraded_service_is_exit_code_1(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A bus that is switched off is told with its reason."""
    with ServiceProcess(tmp_path_factory.mktemp("off"), {"EVENT_BUS_ENABLED": "false"}) as service:
        done = run("status", url=service.url)
        as_json = run("status", "--json", url=service.url)

    assert (done.returncode, as_json.returncode, done.stderr) == (1, 1, "")
    assert "degraded: " in done.stdout
    assert json.loads(as_json.stdout)["health"]["event_bus"] == "disabled"


def test_a_process_ends_with_its_pipe(service: ServiceProcess) -> None:
    """A tail whose reader is gone ends at its next event, quietly."""
    with start(["tail", "--from", "earliest", "--json"], url=service.url) as tailing:
        assert isinstance(tailing, subprocess.Popen)
        assert tailing.stdout is not None
        assert tailing.stderr is not None
        run("publish", "a", "--source", "/a", url=service.url)
        tailing.stdout.readline()
        tailing.stdout.close()
        run("publish", "a", "--source", "/a", url=service.url)
        told = tailing.stderr.read()

    assert (tailing.returncode, told) == (0, b"")


def test_a_bus_by_its_name(tmp_path: Path) -> None:
    """``--bus`` leads each command to the events of that bus; one that is not served is told in one line."""
    with ServiceProcess(tmp_path, {"WOWEVENT_BUSES": "default,orders"}) as service:
        for bus in ("default", "orders"):
            done = run("publish", f"a.{bus}", "--source", "/a", "--bus", bus, url=service.url)
            assert done.returncode == 0, done.stderr
        lines = run("publish", "--bus", "orders", url=service.url, given=b'{"type":"a.line","source":"/a"}\n')
        listed = run("events", "--bus", "orders", "--json", url=service.url).stdout
        tailed = run("tail", "--bus", "orders", "--from", "earliest", "--count", "2", "--json", url=service.url).stdout
        status = run("status", "--bus", "orders", url=service.url)
        unknown = run("events", "--bus", "nobody", url=service.url)
        invalid = run("events", "--bus", "No", url=service.url)

    assert lines.returncode == 0
    assert [json.loads(line)["type"] for line in listed.splitlines()] == ["a.orders", "a.line"]
    assert tailed == listed
    assert re.search(r"^bus +orders, of default, orders$", status.stdout, re.MULTILINE)
    assert re.search(r"^log +2 events", status.stdout, re.MULTILINE)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    assert "default, orders" in unknown.stderr
    assert (invalid.returncode, invalid.stderr.count("\n")) == (2, 1)
    assert "--bus" in invalid.stderr


# Where the service is -------------------------------------------------------------------------------------------------

NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["--url", "{}", "status"], None),
        (["status", "--url", "{}"], None),
        (["status"], "{}"),
        (["--url", "{}", "status"], NOBODY),
        (["status", "--url", "{}"], NOBODY),
        (["--url", NOBODY, "status", "--url", "{}"], NOBODY),
    ],
)
def test_the_address_of_the_service(service: ServiceProcess, arguments: list[str], variable: str | None) -> None:
    """``--url`` stands before the command or behind it; the one behind wins, and either over the variable."""
    spelled = [argument.format(service.url) for argument in arguments]
    done = run(*spelled, url=None if variable is None else variable.format(service.url))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == ["service", service.url]


@pytest.mark.parametrize("arguments", [["serve"], ["epoch", "new"]])
def test_commands_that_ask_no_service(arguments: list[str]) -> None:
    """An address before a command that asks no service is a mistake, and is told as one."""
    done = run("--url", NOBODY, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"{arguments[0]} asks no service" in done.stderr
