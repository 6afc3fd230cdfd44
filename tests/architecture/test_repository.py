"""What holds for every file, whatever its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.repository import REGISTRIES, registry_hosts, texts, unexplained_ignores
from tests.architecture.source import ROOT


def test_no_file_names_a_package_registry() -> None:
    """The repository can be built with any registry: lock files and scripts name none."""
    found = [line for path, text in texts(ROOT) for line in registry_hosts(path, text)]

    assert not found, "\n".join(found)


def test_every_ignored_rule_has_its_reason() -> None:
    """Each rule of the linter that is off says why, beside it."""
    found = list(unexplained_ignores("pyproject.toml", (ROOT / "pyproject.toml").read_text("utf-8")))

    assert not found, "\n".join(found)


@pytest.mark.parametrize(("name", "domain"), REGISTRIES)
def test_a_registry_is_found(name: str, domain: str) -> None:
    """Each registry is found in the address of a package, at its line."""
    found = list(registry_hosts("lock", f"one\nhttps://files.{name}.{domain}/a.tar.gz\n"))

    assert len(found) == 1
    assert found[0].startswith("lock:2: ")


def test_a_name_like_a_registry_passes() -> None:
    """A word that begins like a host is no host."""
    assert list(registry_hosts("README.md", "npm install, pip install, crates of io, pypi")) == []


def test_an_unexplained_ignore_is_found() -> None:
    """A code without words beside it is refused, and one with words is not."""
    text = 'ignore = [\n  "S101",\n  "S102",  #\n  "S103",  # because it is so\n]'

    assert [found.split(":")[1] for found in unexplained_ignores("pyproject.toml", text)] == ["2", "3"]


def test_texts_skips_what_tools_made(tmp_path: Path) -> None:
    """Installed packages, caches and binary files are not ours to judge."""
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "a.js").write_text("x")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("x")

    assert list(texts(tmp_path)) == [("docs/a.md", "x")]
