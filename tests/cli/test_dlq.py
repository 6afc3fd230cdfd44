"""``wowevent dlq``: dead letters found, put back and destroyed."""

from __future__ import annotations

from tests.cli.command_process import run
from tests.cli.subscribed import counts, lines, make, publish, reject, unique_name
from tests.service_process import ServiceProcess


def test_dead_letters_are_listed_and_shown(service: ServiceProcess) -> None:
    """They are chosen by what is known of them, written for people and for programs, and more is told of."""
    name = unique_name()
    make(service, name)
    positions = publish(service, name, "one", "two", "three")
    reject(service, name, "first reason", "second [reason]", "third reason")
    found = lines(
        "dlq", "list", name, "--text", "SECOND", "--reason", "rejected", "--type", "t*", "--from", "1h", url=service.url
    )
    none = lines("dlq", "list", name, "--to", "1h", url=service.url)
    page = run("dlq", "list", name, "--limit", "2", url=service.url)
    shown = run("dlq", "show", name, found[0]["id"], url=service.url).stdout

    assert [item["position"] for item in found] == positions[1:2]
    assert none == []
    assert [line.split()[2] for line in page.stdout.splitlines()] == ["reason", "rejected", "rejected"]
    assert page.stderr.startswith("wowevent: there can be more: --after ")
    after = page.stderr.split()[-1]
    assert [item["position"] for item in lines("dlq", "list", name, "--after", after, url=service.url)] == positions[2:]
    facts = {line[:16].strip(): line[17:] for line in shown.splitlines()}
    assert (facts["reason"], facts["last error"]) == ("rejected", "second [reason]")
    assert '"data":"two"' in facts["event"]


def test_dead_letters_are_redriven(service: ServiceProcess) -> None:
    """A dry run only counts; then those that were chosen go back."""
    name = unique_name()
    make(service, name)
    publish(service, name, 1, 2)
    reject(service, name, "first reason", "second reason")
    letter = lines("dlq", "list", name, "--text", "second", url=service.url)[0]["id"]
    tried = run("dlq", "redrive", name, "--dry-run", url=service.url)
    (done,) = lines("dlq", "redrive", name, "--id", letter, "--rate", "100", url=service.url)

    assert tried.stdout == f"2 dead letters of {name} would go back\n"
    assert done == {"matched": 1, "redriven": 1, "dry_run": False}
    assert counts(service, name)["dead"] == 1


def test_dead_letters_are_destroyed_with_a_yes_only(service: ServiceProcess) -> None:
    """Without somebody to ask, the count is told and nothing is done."""
    name = unique_name()
    make(service, name)
    publish(service, name, 1, 2)
    reject(service, name, "first reason", "second reason")
    unsure = run("dlq", "purge", name, url=service.url)
    done = run("dlq", "purge", name, "--text", "first", "--yes", url=service.url)

    assert (unsure.returncode, unsure.stdout) == (2, "")
    assert "2 dead letters" in unsure.stderr
    assert "--yes" in unsure.stderr
    assert (done.returncode, done.stdout) == (0, f"1 dead letter of {name} is destroyed\n")
    assert counts(service, name)["dead"] == 1
    missing = run("dlq", "list", unique_name(), url=service.url)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
