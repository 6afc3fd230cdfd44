"""``wowevent publish``: one event, many events, refusals and exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cli import command_process
from tests.cli.command_process import COMMAND, environment, run
from tests.redis_servers.port import unused_port
from tests.service_process import ServiceProcess


def stored(service: ServiceProcess, *arguments: str) -> list[dict[str, Any]]:
    """Return the events that ``wowevent events --json`` prints."""
    done = run("events", "--json", "--all", *arguments, url=service.url)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def unique_type() -> str:
    """Return an event type of this test alone: tests share a service."""
    return f"test.t{uuid4().hex}"


def test_one_event_by_its_parts(service: ServiceProcess) -> None:
    """Options become attributes, and the data keeps the spelling of its numbers."""
    event_type, event_id = unique_type(), uuid4().hex
    done = run(
        *("publish", event_type, "--source", "/agents/me", "--id", event_id, "--subject", "s", "--json"),
        *("--attribute", "correlationid=c=1", "--data", '{"price": 1.10}'),
        url=service.url,
    )
    listed = run("events", event_type, "--json", url=service.url).stdout

    assert (done.returncode, done.stderr) == (0, "")
    receipt = json.loads(done.stdout)
    assert (receipt["id"], receipt["duplicate"], receipt["durability"]) == (event_id, False, "fsync")
    event = json.loads(listed)
    assert (event["source"], event["subject"], event["correlationid"]) == ("/agents/me", "s", "c=1")
    assert '"data":{"price":1.10}' in listed


def test_a_receipt_for_people(service: ServiceProcess) -> None:
    """Without --json one line says where the event is, and whether it was there before."""
    arguments = ("publish", unique_type(), "--source", "/a", "--id", "seven")
    first = run(*arguments, url=service.url)
    second = run(*arguments, url=service.url)

    assert first.stdout.startswith("seven is stored at 1")
    assert second.stdout.startswith("seven was stored before at 1")


@pytest.mark.parametrize(
    ("given", "content_type", "members"),
    [
        (b"[1, 2]", None, {"data": [1, 2]}),
        (b'{"a":1}', "application/geo+json", {"data": {"a": 1}}),
        ("żółw".encode(), "text/plain", {"data": "żółw"}),
        (b"\xff\xfe", "text/plain", {"data_base64": "//4="}),
        (b"\x00\x01", "image/png", {"data_base64": "AAE="}),
    ],
)
def test_data_is_read_as_its_content_type_says(
    service: ServiceProcess, tmp_path: Path, given: bytes, content_type: str | None, members: dict[str, Any]
) -> None:
    """JSON stays JSON, text becomes a string, other bytes Base64; from a file and from standard input alike."""
    event_type = unique_type()
    file = tmp_path / "data"
    file.write_bytes(given)
    attribute = () if content_type is None else ("--attribute", f"datacontenttype={content_type}")
    for data, standard_input in ((f"@{file}", b""), ("-", given)):
        done = run(
            "publish", event_type, "--source", "/a", "--data", data, *attribute, url=service.url, given=standard_input
        )
        assert (done.returncode, done.stderr) == (0, "")

    for event in stored(service, event_type):
        assert {name: event[name] for name in ("data", "data_base64") if name in event} == members


def test_a_refused_event_is_told_in_one_line(service: ServiceProcess) -> None:
    """A refusal is exit code 1 or 2 and one line, without a traceback."""
    reused = ("publish", unique_type(), "--source", "/a", "--id", uuid4().hex)
    run(*reused, "--data", "1", url=service.url)
    done = run(*reused, "--data", "2", url=service.url)
    bad = run("publish", "bad type", "--source", "/a", url=service.url)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    assert bad.stderr.startswith("wowevent: ")


LINES = [
    b'{"type":"%b","source":"/a","id":"%b"}',
    b"",
    b'{"type":"bad type","source":"/a"}',
    b"nope",
    b'{"type":"%b","source":"/a"}\r',
    b'{"type":"%b","source":"/a","id":"%b"}',
]


def lines_of(event_type: str) -> bytes:
    """Return lines of which the third and the fourth are refused and the last is a duplicate."""
    return b"\n".join([line.replace(b"%b", event_type.encode()) for line in LINES])


@pytest.mark.parametrize("way", ["standard input", "dash", "file"])
def test_lines_are_published_and_refusals_told(service: ServiceProcess, tmp_path: Path, way: str) -> None:
    """Each refusal is told with its line, code and reason; the sum follows; some refused is exit code 1."""
    event_type = unique_type()
    given = lines_of(event_type)
    file = tmp_path / "events.ndjson"
    file.write_bytes(given)
    arguments = {"standard input": (), "dash": ("--file", "-"), "file": ("--file", str(file))}[way]
    done = run("publish", *arguments, url=service.url, given=b"" if way == "file" else given)

    refusals = done.stderr.splitlines()
    assert done.returncode == 1
    assert refusals[0].startswith("wowevent: line 3: type_unsupported: ")
    assert refusals[1].startswith("wowevent: line 4: malformed_json: ")
    assert len(refusals) == 2
    assert done.stdout == "3 accepted (1 of them stored before), 2 refused\n"
    assert len(stored(service, event_type)) == 2


def test_receipts_as_lines_of_json(service: ServiceProcess) -> None:
    """With --json every line has its answer on standard output, and the sum goes to standard error."""
    done = run("publish", "--json", url=service.url, given=lines_of(unique_type()))

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(answer["line"], answer["status"]) for answer in answers] == [
        (1, "ok"), (3, "error"), (4, "error"), (5, "ok"), (6, "ok")
    ]  # fmt: skip
    assert [answer["code"] for answer in answers if answer["status"] == "error"] == [
        "type_unsupported",
        "malformed_json",
    ]
    assert answers[4]["position"] == answers[0]["position"]
    assert done.stderr == "3 accepted (1 of them stored before), 2 refused\n"
    assert done.returncode == 1


def test_many_events_keep_their_order(service: ServiceProcess) -> None:
    """Twenty-five thousand lines are stored in their order, over many batches."""
    event_type = unique_type()
    given = b"".join(
        [b'{"type":"%b","source":"/a","data":%d}\n' % (event_type.encode(), number) for number in range(25_000)]
    )
    done = run("publish", url=service.url, given=given)

    assert (done.returncode, done.stdout, done.stderr) == (0, "25,000 accepted, 0 refused\n", "")
    assert [event["data"] for event in stored(service, event_type)] == list(range(25_000))


def test_a_slow_writer_is_published_as_it_writes(service: ServiceProcess) -> None:
    """A line on a pipe that stays open is stored before the pipe ends."""
    event_type = unique_type()
    publishing = subprocess.Popen(
        [COMMAND, "publish", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(service.url, None),
    )
    assert publishing.stdin is not None
    publishing.stdin.write(b'{"type":"%b","source":"/a"}\n' % event_type.encode())
    publishing.stdin.flush()
    while not stored(service, event_type):
        assert publishing.poll() is None
    output, _ = publishing.communicate(timeout=command_process.SECONDS_MAX)

    assert json.loads(output)["status"] == "ok"
    assert publishing.returncode == 0


def test_progress_is_shown_on_a_terminal(service: ServiceProcess, tmp_path: Path) -> None:
    """A bar is drawn where standard error is a terminal; standard output is the same as without."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(b'{"type":"a","source":"/a"}\n' * 3000)
    terminal, end = pty.openpty()
    done = subprocess.run(
        [COMMAND, "publish", "--file", str(file)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end,
        timeout=command_process.SECONDS_MAX, env=environment(service.url, {"TERM": "xterm"}), check=False,
    )  # fmt: skip
    os.close(end)
    drawn = os.read(terminal, 65_536)
    os.close(terminal)

    assert done.returncode == 0
    assert b"publishing" in drawn
    assert done.stdout == b"3,000 accepted, 0 refused\n"


def test_a_service_that_is_away_is_told() -> None:
    """No service is exit code 3, one line that names the address and what to do, at once."""
    url = f"http://127.0.0.1:{unused_port()}"
    for arguments, given in ((("publish", "a", "--source", "/a"), b""), (("publish",), b'{"type":"a","source":"/a"}')):
        done = run(*arguments, url=url, given=given)

        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith(f"wowevent: cannot reach {url} (Connection refused); ")
        assert done.stderr.endswith("start it with `wowevent serve`\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a",), "an event needs a --source"),
        (("a", "--source", "/a", "--file", "-"), "not both"),
        (("--source", "/a"), "need its TYPE"),
        (("a", "--source", "/a", "--data", "nope"), "not JSON"),
        (("a", "--source", "/a", "--data", "@/does/not/exist"), "No such file"),
        (("a", "--source", "/a", "--attribute", "novalue"), "NAME=VALUE"),
        (("a", "--source", "/a", "--attribute", "id=7"), "has an option of its own"),
        (("a", "--source", "/a", "--attribute", "datacontenttype=?", "--data", "1"), "datacontenttype"),
        (("--file", "/does/not/exist"), "does not exist"),
        (("a", "--source", "/a", "--url", "nonsense"), "not the address of a service"),
        (("--wrong",), "No such option"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments: tuple[str, ...], told: str) -> None:
    """Misuse is exit code 2 and one line that says what to change and where help is."""
    done = run("publish", *arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert told in done.stderr
    assert "wowevent publish --help" in done.stderr
