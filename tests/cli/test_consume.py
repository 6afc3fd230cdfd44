"""``wowevent consume``: a command for each event, and what its end says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from tests.cli.command_process import run, start
from tests.cli.subscribed import ask, counts, make, publish, unique_name
from tests.service_process import ServiceProcess

PYTHON = sys.executable


def consuming(name: str, *options: str, program: str = "", arguments: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the arguments of a command that runs a program in Python for each event."""
    return ("consume", name, *options, "--", PYTHON, "-S", "-c", program, *arguments)


def first_line(pipe: IO[bytes] | None) -> str:
    """Return the next line that a process writes."""
    assert pipe is not None
    return pipe.readline().decode().strip()


TELL = """
import json, os, sys
names = ("CE_ID", "CE_TYPE", "CE_ODD", "CE_ON", "CE_NUMBER", "CE_POSITION", "CE_ATTEMPT")
print(json.dumps([json.load(sys.stdin), {name: os.environ[name] for name in names}, sys.argv[1:]]))
"""


def test_a_command_gets_the_event(service: ServiceProcess) -> None:
    """Its JSON on standard input, its attributes as variables, its arguments as they are; no shell reads any."""
    name, odd = unique_name(), "$(touch /tmp/x); 'a' \"b\" `c`"
    make(service, name)
    event = {"type": name, "source": "/a", "id": "1", "odd": odd, "on": True, "number": -3, "data": {"t": odd}}
    position = ask(service, "POST", "/v1/events", event).json()["position"]
    done = run(*consuming(name, "--count", "1", program=TELL, arguments=("$HOME", "-x")), url=service.url)

    given, variables, arguments = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert {member: given[member] for member in event} == event
    assert variables == {
        "CE_ID": "1", "CE_TYPE": name, "CE_ODD": odd, "CE_ON": "true", "CE_NUMBER": "-3",
        "CE_POSITION": position, "CE_ATTEMPT": "1",
    }  # fmt: skip
    assert arguments == ["$HOME", "-x"]
    assert counts(service, name)["acked"] == 1


END = """
import json, os, signal, sys
data = json.load(sys.stdin)["data"]
if os.environ["CE_ATTEMPT"] != "1":
    sys.exit(0)
sys.stderr.write(f"first\\nreason {data}\\n\\n")
sys.stderr.flush()
if data == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if data == "slow":
    signal.pause()
sys.exit(data)
"""


def test_the_end_of_a_command_says_what_becomes_of_the_event(service: ServiceProcess) -> None:
    """0 acks, 65 rejects; another code, a signal and a time-out have it tried again; its last words are the reason."""
    name = unique_name()
    make(service, name)
    publish(service, name, 0, 65, 7, "killed", "slow")
    # Three of the five come a second time.
    done = run(*consuming(name, "--count", "8", "--timeout", "1", "--concurrency", "5", program=END), url=service.url)
    (letter,) = ask(service, "GET", f"/v1/subscriptions/{name}/dead-letters").json()["items"]

    found = counts(service, name)
    assert done.returncode == 0
    assert (found["acked"], found["dead"], found["waiting"], found["scheduled"]) == (4, 1, 0, 0)
    assert (letter["reason"], letter["last_error"], letter["event"]["data"]) == ("rejected", "reason 65", 65)
    assert {f"reason {data}" for data in (0, 65, 7, "killed", "slow")} <= set(done.stderr.splitlines())


def test_the_reason_of_a_failure_is_kept(service: ServiceProcess) -> None:
    """The last line of standard error is what the next attempt, and people, see."""
    name = unique_name()
    make(service, name)
    publish(service, name, 7)
    run(*consuming(name, "--count", "1", program=END), url=service.url)
    claimed = ask(service, "POST", f"/v1/subscriptions/{name}/claim", {"wait_seconds": 10}).json()

    assert [(item["attempt"], item["last_error"]) for item in claimed["deliveries"]] == [(2, "reason 7")]


WAIT = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))
sys.stderr.write("began\\n")
sys.stderr.flush()
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_what_runs(service: ServiceProcess, number: signal.Signals) -> None:
    """No new commands; the running one ends in peace and is acked, what was held besides is given back; exit code 0."""
    name = unique_name()
    make(service, name)
    publish(service, name, 1, 2, 3)
    with start(consuming(name, "--credit", "3", program=WAIT), url=service.url) as process:
        assert first_line(process.stderr) == "began"
        process.send_signal(number)
        assert "waiting for 1 running" in first_line(process.stderr)
        (child,) = children(process)
        subprocess.run(["kill", "-USR1", child], check=True)
        process.wait()

    found = counts(service, name)
    assert process.returncode == 0
    assert (found["acked"], found["waiting"], found["leased"], found["scheduled"]) == (1, 2, 0, 0)


def children(process: subprocess.Popen[bytes]) -> list[str]:
    """Return the ids of the commands that it runs."""
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()


def test_a_second_signal_kills(service: ServiceProcess) -> None:
    """What runs is killed then, and its event given back without a failure; exit code 0."""
    name = unique_name()
    make(service, name)
    publish(service, name, 1)
    with start(consuming(name, program=WAIT), url=service.url) as process:
        assert first_line(process.stderr) == "began"
        process.send_signal(signal.SIGTERM)
        assert "waiting for 1 running" in first_line(process.stderr)
        process.send_signal(signal.SIGTERM)
        process.wait()
    claimed = ask(service, "POST", f"/v1/subscriptions/{name}/claim", {"wait_seconds": 10}).json()

    assert process.returncode == 0
    assert [item["attempt"] for item in claimed["deliveries"]] == [1]


def test_without_a_command_events_are_printed(service: ServiceProcess) -> None:
    """As lines of JSON or for people, acked once they are printed; when nobody reads any more it ends."""
    name = unique_name()
    make(service, name)
    publish(service, name, *range(5))
    whole = run("consume", name, "--count", "3", "--json", url=service.url)
    told = run("consume", name, "--count", "1", url=service.url)
    with start(("consume", name), url=service.url) as process:
        assert process.stdout is not None
        assert name in first_line(process.stdout)
        process.stdout.close()
        publish(service, name, "unread")
        process.wait()

    assert [json.loads(line)["data"] for line in whole.stdout.splitlines()] == [0, 1, 2]
    assert told.stdout.split()[1:3] == [name, "/a"]
    assert (whole.returncode, told.returncode, process.returncode) == (0, 0, 0)
    found = counts(service, name)
    assert (found["acked"], found["waiting"], found["leased"]) == (5, 1, 0)


def test_what_is_called_wrongly_is_told_in_one_line(service: ServiceProcess) -> None:
    """No such subscription, no such command, options that do not fit: one line, and the exit code that says which."""
    name = unique_name()
    for arguments, code, told in (
        ((name,), 1, name),
        ((name, "--", "no-such-command"), 2, "no-such-command"),
        ((name, "--timeout", "1"), 2, "--timeout"),
        ((name, "--json", "--", PYTHON), 2, "--json"),
    ):
        done = run("consume", *arguments, url=service.url)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
        assert told in done.stderr
