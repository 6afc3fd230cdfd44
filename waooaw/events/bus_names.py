"""The buses of a service by name, and the durability that each of them promises, as settings spell them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args

from waooaw.events.errors import InvalidSettingError
from waooaw.events.receipt import Durability

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_BUS: Final = "default"
"""The bus of the routes without a name."""

BUSES_MAX: Final = 64
"""Each bus keeps connections, a ring of recent events and a window of ids: a few hundred would fill a process."""

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""Names stand in URLs, keys and metrics: nothing in them needs quoting anywhere."""

LEVELS: Final[dict[str, Durability]] = {level: level for level in get_args(Durability) if level != "memory"}


def wrong_with_buses(names: Sequence[str]) -> str | None:
    """Return what is wrong with a list of buses as the end of a sentence, or None."""
    if any(not NAME.fullmatch(name) for name in names):
        return f"must name buses by {NAME.pattern}, separated by commas"
    if len(set(names)) < len(names):
        return "must name each bus once"
    if DEFAULT_BUS not in names:
        return f"must contain {DEFAULT_BUS}, the bus of the routes without a name"
    return f"must name at most {BUSES_MAX} buses" if len(names) > BUSES_MAX else None


def check_bus_name(name: str) -> None:
    """Raise `InvalidSettingError` for a name that no bus can have."""
    if not NAME.fullmatch(name):
        message = f"{name[:64]!r} is no name of a bus: names match {NAME.pattern}"
        raise InvalidSettingError(message)


def read_levels(text: str, buses: Sequence[str]) -> dict[str, Durability]:
    """Return the level of each bus: ``text`` is one level for all, or ``bus=level`` for each, separated by commas.

    Raises `InvalidSettingError` for what is no level, a bus that is not served, and one that has no level: a promise
    that somebody forgot must not become a weaker one.
    """
    if "=" not in text:
        return dict.fromkeys(buses, _level(text.strip(), text))
    levels: dict[str, Durability] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        bus, separator, level = map(str.strip, item.partition("="))
        if not separator or bus not in buses:
            reason = f"{bus[:64]!r} is no bus of WOWEVENT_BUSES" if separator else f"{item[:64]!r} is no bus=level"
            raise _invalid(text, reason)
        if bus in levels:
            raise _invalid(text, f"{bus} stands there twice")
        levels[bus] = _level(level, text)
    if missing := [bus for bus in buses if bus not in levels]:
        raise _invalid(text, f"there is no level for {', '.join(missing)}")
    return levels


def _level(level: str, text: str) -> Durability:
    if level not in LEVELS:
        raise _invalid(text, f"{level[:64]!r} is no level; the levels are {', '.join(LEVELS)}")
    return LEVELS[level]


def _invalid(text: str, reason: str) -> InvalidSettingError:
    return InvalidSettingError(
        f"WOWEVENT_DURABILITY (--durability) must be one level, or bus=level for each bus, separated by commas: "
        f"{reason} (it is {text[:200]!r})"
    )
