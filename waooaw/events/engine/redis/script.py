"""The Lua scripts: each one atomic step on one bus, the same text on standalone, Sentinel and Cluster.

A script that writes and makes the data larger begins ``#!lua`` alone, so that a full server refuses it before its first
write; what drains has ``allow-oom``, what reads ``no-writes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Final

_FOLDER: Final = files(__package__) / "scripts"
_SHARED: Final = "--@history\n"


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the digest that Redis knows it by (``EVALSHA``; SHA-1 by its definition)."""

    name: str
    text: str
    digest: str


def _load(name: str) -> Script:
    shared = (_FOLDER / "history.lua").read_text("utf-8")
    text = (_FOLDER / f"{name}.lua").read_text("utf-8").replace(_SHARED, shared)
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


OPEN: Final = _load("open")
STATE: Final = _load("state")
APPEND: Final = _load("append")
READ: Final = _load("read")
TRIM: Final = _load("trim")
BEAT: Final = _load("beat")
TIDY: Final = _load("tidy")
PROBE: Final = _load("probe")
RECOUNT: Final = _load("recount")

SCRIPTS: Final = (OPEN, STATE, APPEND, READ, TRIM, BEAT, TIDY, PROBE, RECOUNT)
