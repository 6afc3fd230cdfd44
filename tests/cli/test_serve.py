"""``wowevent serve`` and the command line as a whole."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_process import SECONDS_MAX, run, start
from tests.service_process import ServiceProcess
from waooaw.events.cli.commands import NAMES
from waooaw.events.cli.place_parameter import spell_place_at
from waooaw.events.cli.status import duration, size
from waooaw.events.settings import SETTINGS
from waooaw.events.testing import ManualClock

NO_LAME_DUCK = ("--drain-lame-duck-seconds", "0")


def test_serve_says_where_it_is_and_what_to_try(tmp_path: Path) -> None:
    """Its first line names the address and the store; the commands that it proposes work; SIGTERM ends it with 0."""
    with start(["serve", "--port", "0", "--data-directory", str(tmp_path / "data"), *NO_LAME_DUCK]) as serving:
        assert serving.stdout is not None
        lines: list[str] = []
        while "Stop:" not in "".join(lines):
            lines.append(serving.stdout.readline().decode())
        text = "".join(lines)
        found = re.match(r"WowEvent listens on (\S+) and keeps its events in (.+)\n", text)
        assert found is not None, text
        publish = text.split("Publish an event:")[1].split("Read events")[0].strip()
        watch = text.split("as they come:")[1].split("Stop:")[0].strip()
        published = subprocess.run(publish, shell=True, capture_output=True, check=True, timeout=SECONDS_MAX)  # noqa: S602 - what is told must work in a shell
        with subprocess.Popen(["/bin/sh", "-c", f"exec {watch}"], stdout=subprocess.PIPE) as watching:
            assert watching.stdout is not None
            while b"task.created" not in watching.stdout.readline():
                assert watching.poll() is None
            watching.terminate()
        status = run("status", url=found[1])
        serving.send_signal(signal.SIGTERM)
        _, logs = serving.communicate(timeout=SECONDS_MAX)

    assert Path(found[2]) == tmp_path / "data" / "wowevent.db"
    assert json.loads(published.stdout)["durability"] == "fsync"
    assert status.returncode == 0
    assert serving.returncode == 0
    assert all(json.loads(line)["level"] for line in logs.splitlines())


def test_a_flag_beats_the_environment(tmp_path: Path) -> None:
    """Each setting comes from its variable, unless its flag is given."""
    variables = {"PORT": "1", "LOG_LEVEL": "ERROR", "WOWEVENT_DATA_DIRECTORY": str(tmp_path / "data")}
    with start(["serve", "--port", "0", *NO_LAME_DUCK], variables=variables) as serving:
        assert serving.stdout is not None
        line = serving.stdout.readline().decode()
        serving.send_signal(signal.SIGINT)
        _, logs = serving.communicate(timeout=SECONDS_MAX)

    assert "listens on http://127.0.0.1:" in line
    assert str(tmp_path / "data") in line
    assert (serving.returncode, logs) == (0, b"")


def test_a_misspelt_variable_is_told(tmp_path: Path) -> None:
    """A variable with our prefix that nothing reads is warned of, by name, before the log."""
    variables = {"WOWEVENT_RETENTION_EVENT": "5", "WOWEVENT_URL": "http://x", "WOWEVENT_DATA_DIRECTORY": str(tmp_path)}
    with start(["serve", "--port", "0", *NO_LAME_DUCK], variables=variables) as serving:
        assert serving.stdout is not None
        serving.stdout.readline()
        serving.send_signal(signal.SIGTERM)
        _, logs = serving.communicate(timeout=SECONDS_MAX)

    warnings = [line for line in logs.decode().splitlines() if line.startswith("wowevent: warning: ")]
    assert len(warnings) == 1
    assert "WOWEVENT_RETENTION_EVENT " in warnings[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--port", "many"), "--port must be a whole number"),
        (("--log-level", "LOUD"), "--log-level must be one of"),
        (("--buses", "orders"), "--buses must contain default"),
        (("--redis-url", "redis://localhost", "--durability", "safe"), "is no level"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    """A service that cannot start exits with 1 and says which setting to change."""
    done = run("serve", *arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert told in done.stderr


def test_a_port_in_use_is_told_in_one_line(own_service: ServiceProcess, tmp_path: Path) -> None:
    """The port's owner is not named, the flag that chooses another port is."""
    done = run("serve", "--port", str(own_service.port), "--data-directory", str(tmp_path / "other"))

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "--port" in done.stderr


@pytest.mark.parametrize("arguments", [("--event-bus-enabled",), ("--event-bus-enabled", "true")])
def test_a_switch_needs_no_value(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A setting that is true or false is true where its flag stands alone; what follows is not taken for its value."""
    variables = {"EVENT_BUS_ENABLED": "false", "WOWEVENT_DATA_DIRECTORY": str(tmp_path / "data")}
    with start(["serve", *arguments, "--port", "0", *NO_LAME_DUCK], variables=variables) as serving:
        assert serving.stdout is not None
        line = serving.stdout.readline().decode()
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=SECONDS_MAX)

    assert str(tmp_path / "data") in line
    assert serving.returncode == 0


def test_help_lists_every_setting() -> None:
    """Each setting stands in the help with its flag, its variable and its default."""
    text = " ".join(run("serve", "--help", variables={"COLUMNS": "200"}).stdout.split())

    for info in SETTINGS:
        assert f"{info.flag} " in text
        assert f"[variable: {info.variable}; default: {info.default_text or 'empty'}]" in text


@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_loads_nothing_heavy(name: str) -> None:
    """Help is answered without the HTTP library, the tables and the service."""
    program = (
        "import sys\n"
        "from waooaw.events.cli.commands import commands\n"
        f"commands({[*([name] if name else []), '--help']!r}, standalone_mode=False)\n"
        "print(sorted({'aiohttp', 'rich', 'sqlite3', 'uvloop', 'waooaw.events.service'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=SECONDS_MAX
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told() -> None:
    """``--version`` is the name and the version of the package."""
    assert re.fullmatch(r"wowevent \d+\.\d+\.\d+\S*\n", run("--version").stdout)


def test_a_command_that_is_none_is_told_in_one_line() -> None:
    """A misspelt command is exit code 2."""
    done = run("tial")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "tial" in done.stderr


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("15m", "2025-11-24T21:05:00.000Z"),
        ("2h", "2025-11-24T19:20:00.000Z"),
        ("earliest", "earliest"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("1764019200123-0", "1764019200123-0"),
    ],
)
def test_a_while_ago_is_a_time(text: str, spelled: str) -> None:
    """A duration counts back from now; everything else goes to the service as it is."""
    assert spell_place_at(text, ManualClock()) == spelled


def test_sizes_and_durations_as_people_say_them() -> None:
    """Numbers are shown in units that keep them short."""
    assert [size(number) for number in (0, 999, 1000, 29_200_000, 5e12)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "29.2 MB",
        "5.0 TB",
    ]
    assert [duration(seconds) for seconds in (0.4, 59, 61, 7_200, 90_000)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "2 h 0 min",
        "1 d 1 h",
    ]
