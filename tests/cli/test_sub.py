"""``wowevent sub``: subscriptions from making to removing."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.command_process import run, start
from tests.cli.subscribed import ask, counts, lines, make, publish, reject, unique_name
from tests.service_process import ServiceProcess
from waooaw.events.cli.sub_screen import facts


def test_options_and_a_file_make_a_definition(service: ServiceProcess, tmp_path: Path) -> None:
    """What options give wins over the file, what neither gives has its default; people are told where it begins."""
    name, file = unique_name(), tmp_path / "definition.json"
    file.write_text('{"patterns":["a.*"],"lease_seconds":5,"retry":{"max_attempts":9,"cap_seconds":60}}')
    done = run(
        *("sub", "create", name, "--file", str(file), "--pattern", "b.*", "--pattern", "c", "--max-in-flight", "7"),
        *("--retry-first", "2", "--max-attempts", "3", "--on-exhausted", "drop", "--ordering", "key"),
        url=service.url,
    )
    made = ask(service, "GET", f"/v1/subscriptions/{name}").json()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{name} is active and receives events accepted after ")
    assert (made["patterns"], made["lease_seconds"], made["max_in_flight"]) == (["b.*", "c"], 5, 7)
    assert (made["ordering"], made["on_exhausted"], made["max_waiting"]) == ("key", "drop", 1_000_000)
    assert made["retry"] == {
        "max_attempts": 3, "first_seconds": 2, "factor": 2, "cap_seconds": 60, "max_age_seconds": None
    }  # fmt: skip


def test_what_is_shown_makes_another(service: ServiceProcess, tmp_path: Path) -> None:
    """What show --json writes is a file for create: the definition counts, and what is told besides is passed over."""
    name, other, file = unique_name(), unique_name(), tmp_path / "shown.json"
    make(service, name, lease_seconds=7, ordering="key")
    publish(service, name, 1)
    (shown,) = lines("sub", "show", name, url=service.url)
    file.write_text(json.dumps(shown))
    (made,) = lines("sub", "create", other, "--file", str(file), url=service.url)

    told = {"name", "incarnation", "created", "receives", "receives_after", "counts", "claimed"}
    told |= {"oldest_waiting", "oldest_waiting_seconds"}
    assert made["name"] == other
    assert {key: made[key] for key in made.keys() - told} == {key: shown[key] for key in made.keys() - told}


@pytest.mark.parametrize(
    ("state", "shown"), [("leased", "held longest: 9-0, leased by w1"), ("scheduled", "oldest: 9-0, scheduled")]
)
def test_only_what_is_held_is_held_longest(state: str, shown: str) -> None:
    """The oldest that is known of is held by its member under a lease, and by nobody while it waits for a try."""
    oldest = {"position": "9-0", "state": state, "member": "w1"}
    told = {"name": "a", "state": "active", "patterns": ["*"], "counts": {}, "oldest_waiting_seconds": 3.0}
    assert dict(facts(told | {"oldest": oldest}, {}))["oldest"] == f"3 s; {shown}"


def test_what_is_called_wrongly_is_told_in_one_line(service: ServiceProcess) -> None:
    """No pattern, a value outside its range, no such subscription: one line, and the exit code that says which."""
    name = unique_name()
    for arguments, code, told in (
        (("create", name), 2, "--pattern"),
        (("create", name, "--pattern", "a", "--lease", "0"), 2, "lease_seconds"),
        (("show", name), 1, name),
        (("delete", name), 1, name),
    ):
        done = run("sub", *arguments, url=service.url)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
        assert told in done.stderr


def test_a_subscription_is_held_moved_and_removed(service: ServiceProcess) -> None:
    """Pause, resume and seek tell how it stands then; delete wants a yes."""
    name = unique_name()
    make(service, name)
    publish(service, name, 1, 2)
    paused = run("sub", "pause", name, url=service.url)
    (resumed,) = lines("sub", "resume", name, url=service.url)
    moved = run("sub", "seek", name, "now", url=service.url)
    unsure = run("sub", "delete", name, url=service.url)
    done = run("sub", "delete", name, "--yes", url=service.url)

    assert (paused.returncode, moved.returncode) == (0, 0)
    assert paused.stdout.startswith(f"{name} is paused and ")
    assert (resumed["state"], resumed["counts"]["waiting"]) == ("active", 2)
    assert "0 waiting, " in moved.stdout
    assert (unsure.returncode, unsure.stdout) == (2, "")
    assert "--yes" in unsure.stderr
    assert (done.returncode, done.stdout) == (0, f"{name} is removed\n")


def test_all_are_listed(service: ServiceProcess) -> None:
    """A line for each, for people and for programs."""
    name = unique_name()
    make(service, name)
    publish(service, name, 1)
    (found,) = [item for item in lines("sub", "list", url=service.url) if item["name"] == name]
    table = run("sub", "list", url=service.url).stdout

    assert (found["state"], found["counts"]["waiting"]) == ("active", 1)
    (row,) = [line.split() for line in table.splitlines() if line.startswith(name)]
    assert row[1:8] == ["active", name, "1", "0", "0", "0", "0"]


def test_what_goes_wrong_is_shown(service: ServiceProcess) -> None:
    """Who holds leases, what fails and why, and the event that is suspected of it."""
    name = unique_name()
    make(service, name)
    held, poison = publish(service, name, 1, 2)
    path = f"/v1/subscriptions/{name}"
    for _ in range(2):
        claimed = ask(service, "POST", f"{path}/claim", {"max": 2, "wait_seconds": 10, "member": "w1"}).json()
        for delivery in claimed["deliveries"]:
            if delivery["position"] == poison:
                outcome = {"token": delivery["token"], "outcome": "nack", "reason": "bad [total]", "delay_seconds": 60}
                outcome["delay_seconds"] = 0 if delivery["attempt"] == 1 else 60
                ask(service, "POST", f"{path}/settle", {"outcomes": [outcome]})
    shown = run("sub", "show", name, url=service.url).stdout

    assert f"{name}, active" in shown
    assert f"{poison} failed 2 times: bad [total]" in shown
    assert f"held longest: {held}, leased by w1" in shown
    assert any(line.split()[:3] == [held, "w1", "0"] for line in shown.splitlines())


def test_a_subscription_is_watched(service: ServiceProcess) -> None:
    """With --watch it is shown again and again, until Ctrl-C ends it with exit code 0."""
    name = unique_name()
    make(service, name)
    with start(("sub", "show", name, "--watch", "--json"), url=service.url) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        publish(service, name, 1)
        reject(service, name, "nonsense")
        while json.loads(watching.stdout.readline())["counts"]["dead"] == 0:
            assert watching.poll() is None
        watching.send_signal(signal.SIGINT)
        watching.wait()

    assert (first["counts"]["matched"], counts(service, name)["matched"]) == (0, 1)
    assert watching.returncode == 0
