"""What a program that imports the package gets to see of its log lines."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_is_written_where_logging_is_not_set_up() -> None:
    """A warning of ours does not appear on standard error by itself, and does once the program sets logging up."""
    line = "logging.getLogger('wowevent.delivery').warning('dead_letter.buried')"
    done = subprocess.run(
        [sys.executable, "-c", f"import logging, waooaw.events; {line}; logging.basicConfig(); {line}"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.decode().splitlines() == ["WARNING:wowevent.delivery:dead_letter.buried"]
