"""What a document shows of an output, where `…` stands for what differs from run to run.

In a text it is any part of a line; alone on a line, any lines. In JSON it is any part of a string; as a whole value,
any value; as the name of a member, any further members; as the last item, any further items.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

ANY: Final = "…"


def text_matches(expected: str, output: str) -> bool:
    """Tell whether an output is what a text block shows."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == ANY else re.escape(line).replace(ANY, ".*") + r"[ \t]*\n"
        for line in expected.strip("\n").split("\n")
    ]
    return re.fullmatch("".join(lines), output.replace("\r\n", "\n").strip("\n") + "\n") is not None


def json_matches(expected: str, output: str) -> bool:
    """Tell whether an output is what a JSON block shows."""
    try:
        found = json.loads(output)
    except ValueError:
        return False
    return _value_matches(json.loads(expected), found)


def _value_matches(expected: Any, found: Any) -> bool:  # noqa: ANN401 - any JSON
    if expected == ANY:
        return True
    if isinstance(expected, str) and ANY in expected:
        return isinstance(found, str) and text_matches(expected, found)
    if isinstance(expected, dict):
        return isinstance(found, dict) and _members_match(expected, found)
    if isinstance(expected, list):
        return isinstance(found, list) and _items_match(expected, found)
    return type(expected) is type(found) and bool(expected == found)


def _members_match(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    named = {name: value for name, value in expected.items() if name != ANY}
    may_be_more = ANY in expected
    return (named.keys() <= found.keys() if may_be_more else named.keys() == found.keys()) and all(
        _value_matches(value, found[name]) for name, value in named.items()
    )


def _items_match(expected: list[Any], found: list[Any]) -> bool:
    if expected and expected[-1] == ANY:
        expected, found = expected[:-1], found[: len(expected) - 1]
    return len(expected) == len(found) and all(map(_value_matches, expected, found))
