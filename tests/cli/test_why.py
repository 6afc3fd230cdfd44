"""``wowevent why``: what each subscription made of an event."""

from __future__ import annotations

from tests.cli.command_process import run
from tests.cli.subscribed import lines, make, publish, reject, settle, unique_name
from tests.service_process import ServiceProcess


def test_what_became_of_an_event_is_told(service: ServiceProcess) -> None:
    """For each subscription whether it matched, or why not, and what came of it, tries only where they are known."""
    name, other, done = unique_name(), unique_name(), unique_name()
    make(service, name)
    make(service, done, patterns=[name], on_exhausted="drop", retry={"max_attempts": 1})
    make(service, other)
    (position,) = publish(service, name, 1)
    reject(service, name, "no such account")
    settle(service, done, "nack", "gone")
    found = {item["subscription"]: item for item in lines("why", position, url=service.url)}
    table = {line.split()[0]: line for line in run("why", position, url=service.url).stdout.splitlines()}
    wrong = run("why", "yesterday", url=service.url)
    nothing = run("why", "1-0", url=service.url)

    assert (found[name]["matched"], found[name]["state"], found[name]["attempts"]) == (True, "dead", 1)
    assert found[name]["last_error"] == "no such account"
    assert found[other] == {"subscription": other, "matched": False, "why": "pattern"}
    assert table[name].split()[1:4] == ["yes", "dead", "1"]
    assert table[done].split() == [done, "yes", "settled", "-", "-", "-"]
    assert "no: its patterns do not match the type" in table[other]
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert (nothing.returncode, nothing.stderr.count("\n")) == (1, 1)
