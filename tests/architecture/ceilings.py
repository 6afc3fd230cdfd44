"""How long a file and a function may be, and what they may be called.

The habit is 250 lines a module; these are the walls.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from tests.architecture.source import Source

MODULE_LINES: Final = 400
SUITE_LINES: Final = 500
FUNCTION_LINES: Final = 60

NAMELESS: Final = frozenset({"base", "common", "helper", "helpers", "misc", "mixin", "mixins", "util", "utils"})
"""File names that say nothing of what is in the file, so that everything ends up there."""


def module_length(sources: Sequence[Source]) -> Iterator[str]:
    """Modules above their ceiling."""
    for source in sources:
        lines = len(source.text.splitlines())
        ceiling = SUITE_LINES if source.path.startswith("tests/") else MODULE_LINES
        if lines > ceiling:
            yield source.at(ceiling + 1, f"{lines} lines, the ceiling is {ceiling}: which two nouns are in this file?")


def function_length(sources: Sequence[Source]) -> Iterator[str]:
    """Functions above their ceiling, from ``def`` to their last line."""
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    yield source.at(node.lineno, f"{node.name} has {lines} lines, the ceiling is {FUNCTION_LINES}")


def module_names(sources: Sequence[Source]) -> Iterator[str]:
    """Files and folders named after nothing."""
    for source in sources:
        for part in PurePosixPath(source.path).with_suffix("").parts:
            if part.strip("_") in NAMELESS:
                yield source.at(1, f"{part!r} names nothing: call the file after the one thing that is in it")


def mixins(sources: Sequence[Source]) -> Iterator[str]:
    """Classes that exist to be inherited from sideways."""
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and "mixin" in node.name.lower():
                yield source.at(node.lineno, f"{node.name} is a mixin: pass an object or call a function instead")


def undocumented_tests(sources: Sequence[Source]) -> Iterator[str]:
    """Tests that do not say what they promise."""
    for source in sources:
        if not PurePosixPath(source.path).name.startswith("test_"):
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                docstring = ast.get_docstring(node) or ""
                if not docstring.strip():
                    yield source.at(node.lineno, f"{node.name} has no docstring: which promise does it test?")


def namespace_package(sources: Sequence[Source]) -> Iterator[str]:
    """A file that would make ``waooaw`` ours alone: other distributions install into the same name."""
    for source in sources:
        if source.path == "waooaw/__init__.py":
            yield source.at(1, "waooaw is a namespace package: it has no __init__.py")
