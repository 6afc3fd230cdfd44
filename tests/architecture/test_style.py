"""Ceilings and bans. Each rule is run over the tree, and over sources that break it and keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import pytest

from tests.architecture import bans, ceilings
from tests.architecture.source import Source, parse, tree

Rule: TypeAlias = Callable[[Sequence[Source]], Iterator[str]]

PRODUCT = "waooaw/events/bus/bus.py"
TEST = "tests/bus/test_bus.py"

RULES: list[Rule] = [
    bans.blocking_sleep,
    bans.clock_and_chance,
    bans.core_files,
    bans.dropped_tasks,
    bans.environment,
    bans.module_state,
    bans.printing,
    bans.silenced_tools,
    bans.sleeping_tests,
    bans.sql_and_lua,
    bans.star_imports,
    ceilings.function_length,
    ceilings.mixins,
    ceilings.module_length,
    ceilings.module_names,
    ceilings.namespace_package,
    ceilings.undocumented_tests,
]

LOOP = "import asyncio\nloop = asyncio.get_running_loop()\n"

BROKEN: list[tuple[Rule, str, str]] = [
    (bans.blocking_sleep, PRODUCT, "from time import sleep\nsleep(1)"),
    (bans.clock_and_chance, PRODUCT, "import time\nnow = time.time()"),
    (bans.clock_and_chance, PRODUCT, "import time as clock\nnow = clock.monotonic"),
    (bans.clock_and_chance, PRODUCT, "from datetime import UTC, datetime\nnow = datetime.now(UTC)"),
    (bans.clock_and_chance, PRODUCT, "import datetime as dt\nnow = dt.datetime.now(dt.UTC)"),
    (bans.clock_and_chance, PRODUCT, "import random\nx = random.random()"),
    (bans.clock_and_chance, PRODUCT, "from random import Random\nx = Random(1)"),
    (bans.clock_and_chance, PRODUCT, "import secrets\nx = secrets.token_bytes(8)"),
    (bans.clock_and_chance, PRODUCT, "from uuid_utils import uuid7\nx = uuid7()"),
    (bans.core_files, "waooaw/events/event.py", "x = open('a')"),
    (bans.dropped_tasks, PRODUCT, "import asyncio\nasyncio.create_task(work())"),
    (bans.dropped_tasks, PRODUCT, "from asyncio import create_task\n_ = create_task(work())"),
    (bans.dropped_tasks, PRODUCT, "import asyncio\ntask = asyncio.ensure_future(work())"),
    (bans.dropped_tasks, PRODUCT, LOOP + "loop.create_task(work())"),
    (bans.dropped_tasks, TEST, "import asyncio\nasyncio.get_running_loop().create_task(work())"),
    (bans.environment, PRODUCT, "import os\nx = os.environ['A']"),
    (bans.environment, "waooaw/events/settings.py", "from os import getenv\nx = getenv('A')"),
    (bans.environment, "waooaw/events/service/app.py", "from os import environ\nx = dict(environ)"),
    (bans.module_state, PRODUCT, "cache = {}"),
    (bans.module_state, PRODUCT, "cache: dict[str, int] = {}"),
    (bans.module_state, PRODUCT, "from collections import deque\n_waiting = deque()"),
    (bans.module_state, PRODUCT, "names = [name for name in range(3)]"),
    (bans.module_state, PRODUCT, "def f():\n    global count\n    count = 1"),
    (bans.printing, PRODUCT, "print('x')"),
    (bans.silenced_tools, PRODUCT, "x = 1  # noqa"),
    (bans.silenced_tools, PRODUCT, "x = 1  # noqa: S101"),
    (bans.silenced_tools, PRODUCT, "x = 1  # type: ignore"),
    (bans.silenced_tools, PRODUCT, "x = 1  # type: ignore[arg-type]"),
    (bans.silenced_tools, PRODUCT, "x = 1  # type: ignore  # because it is like that"),
    (bans.silenced_tools, PRODUCT, "# ruff: noqa: S101 - because it is like that"),
    (bans.sleeping_tests, TEST, "import time\ntime.sleep(1)"),
    (bans.sleeping_tests, TEST, "import asyncio\nasync def test():\n    await asyncio.sleep(0.1)"),
    (bans.sql_and_lua, PRODUCT, "x = 'SELECT a FROM b '"),
    (bans.sql_and_lua, PRODUCT, "x = f'INSERT INTO {table} VALUES (1)'"),
    (bans.sql_and_lua, "waooaw/events/engine/redis/log.py", "x = \"return redis.call('GET', KEYS[1])\""),
    (bans.star_imports, TEST, "from os import *"),
    (ceilings.function_length, PRODUCT, "async def f():\n" + "    x = 1\n" * 60),
    (ceilings.mixins, PRODUCT, "class RetryMixin: ..."),
    (ceilings.module_length, PRODUCT, "x = 1\n" * 401),
    (ceilings.module_length, TEST, "x = 1\n" * 501),
    (ceilings.module_names, "waooaw/events/utils.py", ""),
    (ceilings.module_names, "tests/helpers/redis.py", ""),
    (ceilings.module_names, "waooaw/events/engine/_base.py", ""),
    (ceilings.namespace_package, "waooaw/__init__.py", ""),
    (ceilings.undocumented_tests, TEST, "async def test_it(): ..."),
    (ceilings.undocumented_tests, TEST, "class TestIt:\n    def test_it(self):\n        ''"),
]

KEPT: list[tuple[Rule, str, str]] = [
    (bans.blocking_sleep, PRODUCT, "import asyncio\nasyncio.sleep(1)"),
    (bans.clock_and_chance, "waooaw/events/clock.py", "import time\nnow = time.time()"),
    (bans.clock_and_chance, "waooaw/events/identifier.py", "import random\nx = random.Random()"),
    (bans.clock_and_chance, PRODUCT, LOOP + "now = loop.time()\nthen = clock.now()"),
    (bans.clock_and_chance, PRODUCT, "from random import Random\ndef f(random: Random):\n    return random.random()"),
    (bans.clock_and_chance, "bench/load.py", "import time\nnow = time.perf_counter()"),
    (bans.core_files, "waooaw/events/engine/sqlite/log.py", "x = open('a')"),
    (bans.dropped_tasks, PRODUCT, "import asyncio\ntask = asyncio.create_task(work())\nself.tasks.add(task)"),
    (bans.dropped_tasks, PRODUCT, "async def f(group):\n    group.create_task(work())"),
    (bans.environment, "waooaw/events/cli/main.py", "import os\nx = os.environ"),
    (bans.environment, "waooaw/events/service/__main__.py", "import os\nx = os.environ"),
    (bans.environment, PRODUCT, "import os\nx = os.path.join('a', environment['b'])"),
    (
        bans.module_state,
        PRODUCT,
        "from typing import Final\nTABLE = {1: 2}\n_names: Final = [1]\n__all__ = ['a']\nx = (1, 2)",
    ),
    (bans.module_state, PRODUCT, "def f():\n    cache = {}\n    return cache"),
    (bans.printing, "waooaw/events/cli/main.py", "print('x')"),
    (bans.silenced_tools, PRODUCT, "x = 1  # noqa: S101, S102 - the reason is this one"),
    (bans.silenced_tools, PRODUCT, "x = 1  # type: ignore[arg-type]  # the stub is wrong here"),
    (bans.silenced_tools, PRODUCT, "x = '# noqa'"),
    (bans.sleeping_tests, TEST, "import asyncio\nasync def test():\n    await asyncio.sleep(0)"),
    (bans.sleeping_tests, TEST, "import time\nwhile not there():\n    time.sleep(0.01)"),
    (bans.sql_and_lua, "waooaw/events/engine/sqlite/log.py", "x = 'SELECT a FROM b '"),
    (bans.sql_and_lua, PRODUCT, "x = 'Select an event, or update it: SELECT is a word'"),
    (ceilings.function_length, PRODUCT, "def f():\n" + "    x = 1\n" * 59),
    (ceilings.module_length, PRODUCT, "x = 1\n" * 400),
    (ceilings.module_length, TEST, "x = 1\n" * 500),
    (ceilings.module_names, "waooaw/events/database.py", ""),
    (ceilings.namespace_package, "waooaw/events/__init__.py", ""),
    (ceilings.undocumented_tests, TEST, "def test_it():\n    'Says what.'\n\ndef fixture(): ..."),
]


def _identify(value: object) -> str | None:
    return value.__name__ if callable(value) and hasattr(value, "__name__") else None


@pytest.mark.parametrize("rule", RULES, ids=_identify)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    """No file of the repository breaks the rule; what does is listed with its line and what to do instead."""
    found = list(rule(tree()))

    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN, ids=_identify)
def test_what_breaks_the_rule_is_found(rule: Rule, path: str, text: str) -> None:
    """A source that breaks the rule is found, once, at the file it is in."""
    found = list(rule([parse(path, text)]))

    assert [violation.split(":")[0] for violation in found] == [path]


@pytest.mark.parametrize(("rule", "path", "text"), KEPT, ids=_identify)
def test_what_keeps_the_rule_passes(rule: Rule, path: str, text: str) -> None:
    """A source that keeps the rule passes."""
    assert list(rule([parse(path, text)])) == []


def test_every_rule_is_seen_to_fail() -> None:
    """A rule that nothing can break is no rule: each has an example that breaks it."""
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


def test_an_empty_tree_keeps_every_rule() -> None:
    """A rule needs no file to be there."""
    assert [found for rule in RULES for found in rule([])] == []
