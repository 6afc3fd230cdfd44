"""All errors of the bus, as a list: what the guide shows, and what clients read codes by."""

from __future__ import annotations

from typing import Final

from waooaw.events import outages
from waooaw.events.errors import WowEventError


def _tree(root: type[WowEventError]) -> list[type[WowEventError]]:
    return [root, *(found for child in root.__subclasses__() for found in _tree(child))]


def _errors() -> tuple[type[WowEventError], ...]:
    modules = {WowEventError.__module__, outages.__name__}
    return tuple(error for error in _tree(WowEventError) if error.__module__ in modules)


ERRORS: Final[tuple[type[WowEventError], ...]] = _errors()
"""Every class of the tree, parents before their children."""
