"""``wowevent`` as people and scripts run it: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.service_process import clean_environment

COMMAND: Final = str(Path(sys.executable).with_name("wowevent"))
"""The script that installing the package makes, beside the interpreter of the tests."""

SECONDS_MAX: Final = 60.0


def run(
    *arguments: str, url: str | None = None, given: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, given bytes on its standard input; return its exit code and its output as text."""
    done = subprocess.run(
        [COMMAND, *arguments],
        input=given,
        capture_output=True,
        timeout=SECONDS_MAX,
        env=environment(url, variables),
        check=False,
    )
    return subprocess.CompletedProcess(arguments, done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def start(
    arguments: Sequence[str], *, url: str | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the test, its output in pipes; at the end wait for it, or kill it where the test failed."""
    with subprocess.Popen(
        [COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(url, variables),
    ) as process:
        try:
            yield process
            process.wait(SECONDS_MAX)
        finally:
            process.kill()


def environment(url: str | None, variables: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment of a command that finds the service at an address."""
    found = {} if url is None else {"WOWEVENT_URL": url}
    return clean_environment(found | dict(variables or {}))
