"""Rules about files that are no Python: what they may name, and what has to stand beside a setting."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.architecture.source import walk

REGISTRIES: Final = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("yarnpkg", "com"),
    ("crates", "io"),
    ("rubygems", "org"),
    ("proxy.golang", "org"),
)
"""Hosts in two parts, so that this file does not name them either."""

REGISTRY: Final = re.compile("|".join(rf"\b{re.escape(f'{name}.{domain}')}\b" for name, domain in REGISTRIES))

IGNORE_ENTRY: Final = re.compile(r'^\s*"(?P<code>[A-Z]+[0-9]+)",(?P<rest>.*)$')
REASON: Final = re.compile(r"#\s*\S.{5,}")


def registry_hosts(path: str, text: str) -> Iterator[str]:
    """A package registry named in a file: which one is used is a matter of the machine, not of the product."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := REGISTRY.search(line):
            yield f"{path}:{number}: {match.group()} is a package registry: the machine's own settings choose it"


def unexplained_ignores(path: str, text: str) -> Iterator[str]:
    """A rule of the linter that is switched off without saying why."""
    for number, line in enumerate(text.splitlines(), 1):
        if (entry := IGNORE_ENTRY.match(line)) and not REASON.search(entry["rest"]):
            yield f"{path}:{number}: {entry['code']} is ignored without a reason beside it"


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Every file of the repository that is text, with its path."""
    for path in walk(root):
        try:
            yield path.relative_to(root).as_posix(), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
