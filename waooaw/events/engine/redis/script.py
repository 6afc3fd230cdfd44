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
_SHARED: Final = ("history", "queue", "queue_state")
"""Parts of several scripts, which stand in for a line ``--@<name>``."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the digest that Redis knows it by (``EVALSHA``; SHA-1 by its definition)."""

    name: str
    text: str
    digest: str


def _load(name: str, *, as_drain: bool = False) -> Script:
    text = (_FOLDER / f"{name}.lua").read_text("utf-8")
    if as_drain:
        text = text.replace("#!lua\n", "#!lua flags=allow-oom\n", 1)
    for shared in _SHARED:
        text = text.replace(f"--@{shared}\n", (_FOLDER / f"{shared}.lua").read_text("utf-8"))
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

ROUTES: Final = _load("routes")
CHANGE_SUBSCRIPTIONS: Final = _load("change_subscriptions")
END_SUBSCRIPTIONS: Final = _load("change_subscriptions", as_drain=True)
"""For changes that make none and put none: a full server gets room by them."""
CLAIM: Final = _load("claim")
SETTLE: Final = _load("settle")
SWEEP: Final = _load("sweep")
QUEUE_STATES: Final = _load("queue_states")
QUEUE_DETAILS: Final = _load("queue_details")
FIND_REFERENCE: Final = _load("find_reference")
OLDEST_NEEDED: Final = _load("oldest_needed")
FILL: Final = _load("fill")
SEEK: Final = _load("seek")
DEAD_LETTERS: Final = _load("dead_letters")
REDRIVE: Final = _load("redrive")
PURGE: Final = _load("purge")
PUSH_RECORD: Final = _load("push_record")
WRITE_PUSH_RECORD: Final = _load("write_push_record")
ADD_PUSH_ATTEMPTS: Final = _load("add_push_attempts")
PUSH_ATTEMPTS: Final = _load("push_attempts")
SCHEDULE: Final = _load("schedule")
SCHEDULED: Final = _load("scheduled")
CANCEL_SCHEDULED: Final = _load("cancel_scheduled")
HOLD_JOB: Final = _load("hold_job")

SCRIPTS: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Script))
