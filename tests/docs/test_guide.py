"""The guide is whole: whatever the product has by a name, the guide names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.source import Source, product
from tests.docs import tables
from tests.docs.blocks import ARCHITECTURE, GUIDE, ROOT
from waooaw.events import attributes
from waooaw.events.engine.redis.layout import Keys
from waooaw.events.service import framings
from waooaw.events.service.routes import NOT_YET
from waooaw.events.service.websocket_messages import _FIELDS as OPERATIONS

TEXT: Final = GUIDE.read_text("utf-8")

CODE_ARGUMENT: Final = {"Fault": 0, "Violation": 2, "_data_error": 1, "_header_error": 1, "_RefusedError": 1}
"""The calls that say what is wrong at a place, and which argument is the code."""


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tables.scrape(tmp_path_factory.mktemp("scrape"))


def test_tables_are_those_of_the_code(scrape: str) -> None:
    """The tables in the guide are the ones that `python -m tests.docs.tables` makes from the code."""
    assert tables.with_tables(TEXT, tables.render(scrape)) == TEXT


def test_every_table_has_its_place(scrape: str) -> None:
    """Each table that can be made stands in the guide, once, with rows."""
    made = tables.render(scrape)

    assert sorted(re.findall(r"<!-- table: (\w+) -->", TEXT)) == sorted(made)
    assert all(text.count("\n") > 5 for text in made.values())


def test_metric_names_are_an_interface(scrape: str) -> None:
    """Names of metrics begin with the product's; what counts ends in _total, and units are base units."""
    found = dict(re.findall(r"^# TYPE (\S+) (\S+)$", scrape, re.MULTILINE))

    assert len(found) > 15
    for name, kind in found.items():
        assert name.startswith("wowevent_")
        assert name.endswith("_total") is (kind == "counter")
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|percent)(_|$)", name)


def calls(source: Source) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            yield name, node


def words(argument: ast.expr) -> Iterator[str]:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.IfExp):
        yield from words(argument.body)
        yield from words(argument.orelse)


LOG_CALLS: Final = {"info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR"}
LOG_LINE: Final = re.compile(r"[a-z_]+\.[a-z_]+(?: \(DLQ\))?")


def log_lines() -> Iterator[tuple[str, str]]:
    """The names of log lines with their levels: said to the logger, or to a `_tell` or in an `event` that says it."""
    for source in product():
        said = [(name, call.args[0]) for name, call in calls(source) if name in LOG_CALLS and call.args]
        for name, argument in said:
            yield from ((word, LOG_CALLS[name]) for word in words(argument) if LOG_LINE.fullmatch(word))
            pattern = next(words(argument), "%s")
            if "%s" in pattern:
                told = [call.args[0] for name, call in calls(source) if name == "_tell" and call.args]
                told += [
                    node.value
                    for node in ast.walk(source.tree)
                    if isinstance(node, ast.Assign) and [getattr(to, "id", "") for to in node.targets] == ["event"]
                ]
                for word in (word for argument in told for word in words(argument)):
                    yield pattern.replace("%s", word), LOG_CALLS[name]


def test_codes_of_places_are_listed() -> None:
    """The codes that `errors` can name beside those of problems are the ones that the guide lists."""
    used = {
        word
        for source in product()
        for name, call in calls(source)
        if name in CODE_ARGUMENT and len(call.args) > CODE_ARGUMENT[name]
        for word in words(call.args[CODE_ARGUMENT[name]])
    }
    section = TEXT.partition("Within `errors`")[2].partition("\n## ")[0]
    listed = {
        word for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)
    }

    assert len(used) > 10
    assert listed == used


def test_log_lines_are_listed() -> None:
    """Every name of a log line is in the guide, with its level; and none that the code does not write."""
    listed = set(re.findall(rf"^\| `({LOG_LINE.pattern})` \| ([A-Z]+) \|", TEXT, re.MULTILINE))

    assert len(listed) > 40
    assert listed == set(log_lines())


@pytest.mark.parametrize("name", attributes._RULES)  # noqa: SLF001 - the table of attributes, which only the core needs
def test_every_attribute_is_described(name: str) -> None:
    """An attribute with a rule stands in the table of attributes."""
    rows = [row for row in TEXT.partition("## Publishing")[0].splitlines() if row.startswith("| `")]

    assert any(f"`{name}`" in row.split("|")[1] for row in rows)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described(name: str) -> None:
    """Each operation of the WebSocket is in the guide, with its fields."""
    rows = [row for row in TEXT.splitlines() if f'"op":"{name}"' in row]

    assert rows
    assert {field for field in OPERATIONS[name] if field != "filter"} <= set(re.findall(r'"(\w+)":', " ".join(rows)))


def test_the_type_of_a_gap_is_named() -> None:
    """Readers of bare events know a gap by its type."""
    assert framings.GAP_TYPE in TEXT


def test_what_is_not_there_is_not_promised() -> None:
    """A route that this release does not serve is described nowhere in the guide."""
    assert not [route for route in NOT_YET if f"{route}`" in TEXT or f"{route}/" in TEXT]


# The architecture -----------------------------------------------------------------------------------------------------

ARCHITECTURE_TEXT: Final = ARCHITECTURE.read_text("utf-8")
KEY: Final = re.compile(r"`(wowevent:\{bus\}:[a-z0-9:<>]+)`")


def test_files_of_the_architecture_exist() -> None:
    """Every file and folder that the architecture names is there."""
    names = set(re.findall(r"`([\w/]+(?:\.py|/))`", ARCHITECTURE_TEXT))
    top = [ROOT / folder for folder in ("waooaw", "tests", "bench")]
    there = {f"/{path.relative_to(ROOT)}" for folder in top for path in (folder, *folder.rglob("*"))}

    missing = [name for name in names if not any(path.endswith(f"/{name.rstrip('/')}") for path in there)]

    assert len(names) > 30
    assert not missing


def test_every_layer_is_on_the_map() -> None:
    """A folder of the package that the map does not show is a hole in it."""
    folders = [path.name for path in Path(ROOT, "waooaw", "events").iterdir() if (path / "__init__.py").exists()]

    assert folders
    assert [name for name in folders if f"`{name}/" not in ARCHITECTURE_TEXT] == []


def test_keys_in_redis_are_on_the_map() -> None:
    """The architecture names each key that the engine on Redis has, and none that it has not."""
    keys = Keys("bus")
    known = {value for value in vars(keys).values() if isinstance(value, str)} | set(keys.ids)
    known = {name + "<token>" if name.endswith(":") else name for name in known}

    assert set(KEY.findall(ARCHITECTURE_TEXT)) == known
