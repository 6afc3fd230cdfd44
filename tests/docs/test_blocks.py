"""Documents are true: what they tell to do is done, and what they show comes out."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import DOCUMENTS, ROOT, Block, read_blocks
from tests.docs.expectation import json_matches, text_matches
from tests.docs.reader import Reader
from tests.service_process import ServiceProcess

RUN = frozenset({"sh", "python"})
KNOWN = RUN | {"acl", "conf", "console", "http", "js", "json", "text"}

CALLS_THIS_MACHINE = {"WOWEVENT_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
"""What documents say that the service needs for receivers beside it."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_what_a_document_tells_to_do_works(document: Path, tmp_path: Path) -> None:
    """Each command and program of a document, in order against one fresh service, writes what the document shows."""
    (tmp_path / "reader").mkdir()
    with ServiceProcess(tmp_path, CALLS_THIS_MACHINE) as service, Reader(tmp_path / "reader", service) as reader:
        output: str | None = None
        for block in read_blocks(document):
            if block.label in {"terminal", "server"}:
                if block.language == "text":
                    reader.check_terminal(block)
                else:
                    (reader.open_terminal if block.label == "terminal" else reader.start_server)(block)
                output = None
            elif block.language in RUN:
                output = reader.run(block)
            elif block.follows and output is not None:
                reader.check_output(block, output)
                output = None


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_block_says_what_it_is(document: Path) -> None:
    """A block whose language nobody knows would be checked by nobody."""
    assert {block.language for block in read_blocks(document)} <= KNOWN


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_examples_are_json(document: Path) -> None:
    """Every block of JSON is JSON."""
    for block in read_blocks(document):
        if block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_examples_are_javascript(document: Path, tmp_path: Path) -> None:
    """Every block of JavaScript can be read by Node.js."""
    for block in read_blocks(document):
        if block.language == "js":
            script = tmp_path / "block.mjs"
            script.write_text(block.text, "utf-8")
            checked = subprocess.run(["node", "--check", str(script)], capture_output=True, check=False, timeout=30)
            assert checked.returncode == 0, f"line {block.line}: {checked.stderr.decode()}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    """Links inside the repository name files that are there, and headings that are there."""
    text = document.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), f"{target} is not there"
        if heading:
            assert heading in headings(path.read_text("utf-8")), f"{target}: no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_targets_of_make_exist(document: Path) -> None:
    """What a document says to make can be made."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert set(re.findall(r"`?\bmake ([a-z]+)\b`", document.read_text("utf-8"))) <= targets


def headings(text: str) -> set[str]:
    """The anchors of a document's headings, as they are made of them on GitHub."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


# The checks themselves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "output", "matches"),
    [
        ("a\n", "a", True),
        ("id: …\n", "id: 123", True),
        ("id: …\n", "id: 1\nid: 2", False),
        ("a\n…\nb\n", "a\nx\ny\nb\n", True),
        ("a\n…\nb\n", "a\nb\n", True),
        ("a\n…\nb\n", "a\nx\n", False),
        ("a.c\n", "abc", False),
    ],
)
def test_texts_are_compared(expected: str, output: str, *, matches: bool) -> None:
    """A text is what is shown, but for what an ellipsis leaves open."""
    assert text_matches(expected, output) is matches


@pytest.mark.parametrize(
    ("expected", "output", "matches"),
    [
        ('{"a": 1, "b": "…"}', '{"b":"x","a":1}', True),
        ('{"a": 1, "b": "…"}', '{"b":2,"a":1}', True),
        ('{"a": 1, "b": "x…"}', '{"b":2,"a":1}', False),
        ('{"a": 1, "b": "x…"}', '{"b":"xy","a":1}', True),
        ('{"a": 1}', '{"a":1,"b":2}', False),
        ('{"a": 1, "…": 0}', '{"a":1,"b":2}', True),
        ('{"a": true}', '{"a":1}', False),
        ('[1, "…"]', "[1, 2, 3]", True),
        ('[1, "…"]', "[2, 2, 3]", False),
        ("[1]", "[1, 2]", False),
        ("1", "no JSON", False),
    ],
)
def test_json_is_compared(expected: str, output: str, *, matches: bool) -> None:
    """JSON is what is shown, however it is laid out, but for what an ellipsis leaves open."""
    assert json_matches(expected, output) is matches


def test_blocks_are_found(tmp_path: Path) -> None:
    """Blocks are found with their language, label, place, and whether they follow another at once."""
    document = tmp_path / "a.md"
    document.write_text("# A\n\n```sh\nls\n```\n\n```text\na\n```\nThen:\n```sh terminal\ncat\n```\n", "utf-8")

    assert read_blocks(document) == [
        Block("sh", "", "ls\n", 3, follows=False),
        Block("text", "", "a\n", 7, follows=True),
        Block("sh", "terminal", "cat\n", 11, follows=False),
    ]
