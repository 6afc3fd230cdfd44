"""How the suite is spread over processes by pytest-xdist: over how many, what stays together, and what begins.

This is for ``--numprocesses``, as ``make test`` gives it; without it, tests run one after the other in one process.
"""

from __future__ import annotations

import os
import re
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it ships no types

_CONFORMANCE: Final = "tests/conformance/"
_FAULT: Final = "tests/fault/"
_ENGINE: Final = re.compile(r"\[([a-z]+)")


def unit_of(nodeid: str) -> str:
    """Return the unit to which a test belongs; the tests of one unit run in one process, one after the other.

    A module is a unit: its tests share a service. Tests of faults have servers of their own and take long, so each is
    a unit. The conformance suite is split by the first word of the engine, so that servers start in one process only.
    """
    if nodeid.startswith(_FAULT):
        return nodeid
    if nodeid.startswith(_CONFORMANCE) and (engine := _ENGINE.search(nodeid)):
        return _CONFORMANCE + engine[1]
    return nodeid.partition("::")[0]


class Units(LoadScopeScheduling):  # type: ignore[misc]  # as above
    """Gives a process the next unit when it has almost done the one before."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Units:
    """Spread the suite by units, in the order of `pytest_collection_modifyitems`."""
    config.option.loadscopereorder = False
    return Units(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Have one process more than the machine has cores: the tests wait for servers about half of their time.

    Tests that are picked by their name are few, and over before other processes would have begun: 0 is for none.
    """
    if config.option.keyword or any("::" in argument for argument in config.args):
        return 0
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it in the end."""
    if hasattr(config, "workerinput"):  # one process runs them in the order of their files
        items.sort(key=lambda item: not item.nodeid.startswith(_FAULT))
