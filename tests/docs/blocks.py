"""The fenced blocks of a document, in order.

What a block's first line says, after the language:

* `sh`, `python`: it is run. A `json` or `text` block right after it is its output.
* `sh terminal`: it is started and goes on; the next `text terminal` block is what it has written by then, and the next
  terminal ends it.
* `sh server`, `python server`: the same, with `text server`, but it goes on until the document ends.
* `json` elsewhere: an example, which must be JSON. `js`: must be JavaScript.
* `conf`: settings of Redis, with the name that the tests know them by.
* `acl`, `console`, `text` elsewhere, `http`: for people; nothing is done with it here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

README: Final = ROOT / "README.md"
GUIDE: Final = ROOT / "waooaw" / "events" / "README.md"
ARCHITECTURE: Final = ROOT / "docs" / "platform" / "PLATFORM_ARCHITECTURE.md"
RUNBOOK: Final = ROOT / "docs" / "runbooks" / "redis.md"
DOCUMENTS: Final = (README, GUIDE, ARCHITECTURE, *sorted(RUNBOOK.parent.glob("*.md")))

_FENCE: Final = re.compile(r"^```(\w*)[ \t]*(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block. ``follows`` tells that nothing but blank lines stands between it and the block before."""

    language: str
    label: str
    text: str
    line: int
    follows: bool


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of a document."""
    text = path.read_text("utf-8")
    blocks: list[Block] = []
    end = 0
    for found in _FENCE.finditer(text):
        between = text[end : found.start()]
        line = text.count("\n", 0, found.start()) + 1
        blocks.append(Block(found[1], found[2], found[3], line, follows=bool(blocks) and not between.strip()))
        end = found.end()
    return blocks
