"""Calls and shapes that have one place in the product, or none."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from typing import Final

from tests.architecture.source import Source, names

CLOCK_AND_CHANCE: Final = frozenset(
    {"time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"}
    | {"time.gmtime", "time.localtime", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"}
    | {"datetime.date.today", "os.urandom", "uuid.uuid1", "uuid.uuid4"}
)
CHANCE_MODULES: Final = ("random.", "secrets.", "uuid_utils.uuid")
CLOCK_PLACES: Final = ("waooaw/events/clock.py", "waooaw/events/identifier.py")

ENVIRONMENT: Final = frozenset({"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"})
ENVIRONMENT_PLACES: Final = ("waooaw/events/cli/", "waooaw/events/service/__main__.py")

MUTABLE_CALLS: Final = frozenset(
    {
        "builtins.bytearray",
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
    }
    | {"builtins.dict", "builtins.list", "builtins.set"}
    | {"weakref.WeakKeyDictionary", "weakref.WeakSet", "weakref.WeakValueDictionary"}
)

SQL: Final = re.compile(
    r"\s*(SELECT\s.+\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(TABLE|INDEX|VIEW)\s"
    r"|DROP\s+(TABLE|INDEX)\s|ALTER\s+TABLE\s|PRAGMA\s+\w|BEGIN\s+(IMMEDIATE|EXCLUSIVE|DEFERRED))",
    re.DOTALL,
)
LUA: Final = re.compile(r"\bredis\.p?call\s*\(")

TYPE_IGNORE: Final = re.compile(r"#\s*type:\s*ignore(?P<codes>\[[^\]]+\])?(?P<reason>.*)")
NOQA: Final = re.compile(
    r"#\s*(?P<file>(ruff|flake8):\s*)?noqa(?P<codes>:\s*[A-Z]+[0-9]+([,\s]+[A-Z]+[0-9]+)*)?(?P<reason>.*)",
    re.IGNORECASE,
)
REASON_LETTERS: Final = 6  # "as above" is a reason where the one above is


def clock_and_chance(sources: Sequence[Source]) -> Iterator[str]:
    """Time and chance read anywhere but where they are injected from."""
    for source in _product(sources, CLOCK_PLACES):
        called = {id(node.func) for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
        for name, node in names(source):
            if name == "random.Random" and id(node) not in called:
                continue  # the type of the chance that is injected
            if name in CLOCK_AND_CHANCE or name.startswith(CHANCE_MODULES):
                yield source.at(node.lineno, f"{name}: take the clock, the ids and the chance that are injected")


def environment(sources: Sequence[Source]) -> Iterator[str]:
    """The environment read anywhere but at the entrances."""
    for source in _product(sources, ENVIRONMENT_PLACES):
        for name, node in names(source):
            if name in ENVIRONMENT:
                yield source.at(node.lineno, f"{name}: settings are read at the entrance and passed as a mapping")


def printing(sources: Sequence[Source]) -> Iterator[str]:
    """``print`` in what is no command."""
    for source in _product(sources, ("waooaw/events/cli/",)):
        for name, node in names(source):
            if name == "builtins.print":
                yield source.at(node.lineno, "print: only a command has a standard output; log instead")


def blocking_sleep(sources: Sequence[Source]) -> Iterator[str]:
    """``time.sleep`` in the product: it stops every agent of the process."""
    for source in _product(sources, ()):
        for name, node in names(source):
            if name == "time.sleep":
                yield source.at(node.lineno, "time.sleep stops the event loop and every agent on it")


def core_files(sources: Sequence[Source]) -> Iterator[str]:
    """Core modules that open files."""
    for source in sources:
        if source.path.startswith("waooaw/events/") and source.path.count("/") == 2:
            for name, node in names(source):
                if name in {"builtins.open", "io.open"}:
                    yield source.at(node.lineno, "open: the core reads and writes nothing")


def star_imports(sources: Sequence[Source]) -> Iterator[str]:
    """``import *``."""
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                yield source.at(node.lineno, f"import * from {node.module}: name what is used")


def dropped_tasks(sources: Sequence[Source]) -> Iterator[str]:
    """Tasks that nobody holds: the loop keeps a weak reference only, and their errors are seen by nobody.

    A task group holds its tasks, so ``group.create_task(…)`` may stand alone.
    """
    for source in sources:
        aliases = {id(node): name for name, node in names(source)}
        for node in ast.walk(source.tree):
            if isinstance(node, ast.expr) and aliases.get(id(node)) == "asyncio.ensure_future":
                yield source.at(node.lineno, "asyncio.ensure_future: use a task group, or hold a task")
            elif (call := _dropped_call(node)) and _starts_a_task(call, aliases):
                yield source.at(call.lineno, "the task is dropped: use a task group, or hold it and await it")


def _dropped_call(node: ast.AST) -> ast.Call | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return node.value
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        targets = [target.id if isinstance(target, ast.Name) else "" for target in node.targets]
        return node.value if targets == ["_"] else None
    return None


def _starts_a_task(call: ast.Call, aliases: dict[int, str]) -> bool:
    if aliases.get(id(call.func)) == "asyncio.create_task":
        return True
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "create_task"):
        return False
    receiver = ast.unparse(call.func.value).removesuffix("()").rpartition(".")[2]
    return receiver.endswith("loop")


def module_state(sources: Sequence[Source]) -> Iterator[str]:
    """Containers of a module that anyone can change, and ``global``.

    A table is a constant: named in capitals or annotated ``Final``. Metadata of Python (``__all__``) is a table too.
    """
    for source in _product(sources, ()):
        aliases = {id(node): name for name, node in names(source)}
        for statement in source.tree.body:
            for name, value in _module_names(statement):
                if _is_mutable(value, aliases) and not (name.isupper() or name.startswith("__")):
                    yield source.at(
                        statement.lineno, f"{name} is state of the module: give it to an object, or make it Final"
                    )
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Global):
                yield source.at(node.lineno, f"global {', '.join(node.names)}: give it to an object")


def _module_names(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement.value
    elif (
        isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.value
        and not re.search(r"\bFinal\b", ast.unparse(statement.annotation))
    ):
        yield statement.target.id, statement.value


def _is_mutable(value: ast.expr, aliases: dict[int, str]) -> bool:
    if isinstance(value, ast.Call):
        return aliases.get(id(value.func)) in MUTABLE_CALLS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def silenced_tools(sources: Sequence[Source]) -> Iterator[str]:
    """A linter or a type checker told to be quiet without being told about what and why."""
    for source in sources:
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            if token.type != tokenize.COMMENT:
                continue
            match = TYPE_IGNORE.search(token.string) or NOQA.search(token.string)
            if match is None:
                continue
            letters = sum(character.isalpha() for character in match["reason"])
            if not match["codes"] or letters < REASON_LETTERS or match.groupdict().get("file"):
                yield source.at(token.start[0], f"{token.string!r} needs its code and its reason, for this line alone")


def sql_and_lua(sources: Sequence[Source]) -> Iterator[str]:
    """SQL outside the sqlite engine, and Lua in Python anywhere: scripts are files of their own."""
    for source in _product(sources, ()):
        for node in ast.walk(source.tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            if SQL.match(node.value) and not source.path.startswith("waooaw/events/engine/sqlite/"):
                yield source.at(node.lineno, "SQL belongs to engine/sqlite")
            if LUA.search(node.value):
                yield source.at(node.lineno, "Lua belongs in a .lua file of engine/redis")


def sleeping_tests(sources: Sequence[Source]) -> Iterator[str]:
    """Tests that sleep once and hope. Inside a loop it is a look at something until it is there, and has a deadline."""
    for source in sources:
        if not source.path.startswith("tests/"):
            continue
        aliases = {id(node): name for name, node in names(source)}
        for call in _calls_outside_loops(source.tree):
            name = aliases.get(id(call.func))
            yields = bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
            if name == "time.sleep" or (name == "asyncio.sleep" and not yields):
                yield source.at(call.lineno, f"{name}: a test waits for a thing, not for a time")


def _calls_outside_loops(node: ast.AST) -> Iterator[ast.Call]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.While | ast.For | ast.AsyncFor):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _calls_outside_loops(child)


def _product(sources: Sequence[Source], places: tuple[str, ...]) -> Iterator[Source]:
    """The product without the places where the thing belongs (files, or folders by their slash)."""
    for source in sources:
        if source.is_product and not any(_belongs(source.path, place) for place in places):
            yield source


def _belongs(path: str, place: str) -> bool:
    return path.startswith(place) if place.endswith("/") else path == place
