"""A Python source as the rules read it: its text, its tree, and what it imports.

Nothing here touches the product at run time: rules see parsed text, so that they also hold for code that no test runs.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("waooaw", "tests", "bench", "examples", "docs")
PACKAGE: Final = "waooaw.events"
SKIPPED_FOLDERS: Final = frozenset(
    {".git", ".venv", "__pycache__", "node_modules", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
    | {"build", "dist", "wowevent-data"}
)


@dataclass(frozen=True, slots=True)
class Import:
    """One module (or name of a module) that a source imports.

    ``target`` is a module as far as that is known; ``full`` has the imported name behind it.
    ``lazy``: inside a function, so it runs when that is called. ``typing_only``: under ``if TYPE_CHECKING``.
    """

    target: str
    full: str
    line: int
    lazy: bool
    typing_only: bool


@dataclass(frozen=True)
class Source:
    """One parsed file. ``path`` is relative to the repository, with slashes."""

    path: str
    text: str
    tree: ast.Module = field(repr=False)

    @property
    def module(self) -> str:
        """The dotted name by which Python imports the file."""
        parts = PurePosixPath(self.path).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        """The package that a relative import starts from."""
        return self.module if self.path.endswith("__init__.py") else self.module.rpartition(".")[0]

    @property
    def is_product(self) -> bool:
        """Whether users install it."""
        return self.path.startswith("waooaw/")

    def at(self, line: int, message: str) -> str:
        """A violation as a reader's editor can open it."""
        return f"{self.path}:{line}: {message}"


def parse(path: str, text: str) -> Source:
    """Parse one file. ``SyntaxError`` where it is not Python."""
    return Source(path, text, ast.parse(text, path))


def read_sources(root: Path = ROOT) -> tuple[Source, ...]:
    """Every Python file of the repository, by path."""
    paths = sorted(path for folder in FOLDERS for path in walk(root / folder) if path.suffix == ".py")
    return tuple(parse(path.relative_to(root).as_posix(), path.read_text("utf-8")) for path in paths)


@functools.cache
def tree() -> tuple[Source, ...]:
    """The sources of this repository: read once, and only by a process that runs a test of them."""
    return read_sources()


def product() -> list[Source]:
    """Those that users install."""
    return [source for source in tree() if source.is_product]


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder that a person wrote: what tools make and keep is skipped."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name not in SKIPPED_FOLDERS:
                yield from walk(path)
        elif path.is_file():
            yield path


def imports(source: Source, modules: Iterable[str]) -> Iterator[Import]:
    """What a source imports, absolute.

    ``from package import name`` names a module where ``modules`` has ``package.name``, and ``package`` otherwise.
    """
    known = frozenset(modules)
    for node, lazy, typing_only in _statements(source.tree, lazy=False, typing_only=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, alias.name, node.lineno, lazy, typing_only)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(source, node)
            for alias in node.names:
                full = f"{origin}.{alias.name}"
                yield Import(full if full in known else origin, full, node.lineno, lazy, typing_only)


def _origin(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = source.package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _statements(node: ast.AST, *, lazy: bool, typing_only: bool) -> Iterator[tuple[ast.AST, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, lazy, typing_only
        inside_function = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = typing_only or (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"))
        yield from _statements(child, lazy=inside_function, typing_only=guarded)


def names(source: Source) -> Iterator[tuple[str, ast.expr]]:
    """Every name that a source uses of what it imported, by its origin.

    ``now`` of ``from time import time as now`` is ``time.time``. Built-in names are those of ``builtins``; what is
    neither (a parameter, an attribute) is left out.
    """
    aliases = _aliases(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and (dotted := _dotted(node)):
            head, dot, rest = dotted.partition(".")
            if head in aliases:
                yield f"{aliases[head]}{dot}{rest}", node
            elif not dot and hasattr(builtins, head):
                yield f"builtins.{head}", node


def _aliases(tree: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                found[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
