"""Media types and the choice between them, after RFC 9110: section 8.3.1 (types), 5.6.6 (parameters), 12.5.1 (Accept).

Rule 1: types, subtypes and parameter names are compared without case; so are parameter values.
Rule 2: a list with an error in it is not guessed at: nothing of it counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import UnsupportedMediaTypeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADER_CHARACTERS_MAX: Final = 4_096
"""Longest value read: ten times a browser's ``Accept``, and it bounds what one entry of a memo can weigh."""

MEMO_ENTRIES_MAX: Final = 256
"""Values remembered: the clients of one service send a handful; at the longest values a megabyte."""

_ECHO_CHARACTERS_MAX: Final = 64
"""How much of a wrong value an error repeats: enough to recognise it, no way to fill a log."""

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
_ESSENCE: Final = re.compile(rf"[ \t]*({_TOKEN})/({_TOKEN})")
_PARAMETER: Final = re.compile(
    rf"[ \t]*;[ \t]*(?:({_TOKEN})=(?:({_TOKEN})|\"((?:[^\"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*)\"))?"
)
_END: Final = re.compile(r"[ \t]*(,|\Z)")
_EMPTY_ELEMENTS: Final = re.compile(r"[ \t,]*")  # RFC 9110 section 5.6.1.2: a recipient ignores them
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
_QUALITY: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")  # RFC 9110 section 12.4.2


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type, or a range of them (``text/*``). Names are lower-case; of a repeated parameter the first counts."""

    type: str
    subtype: str
    parameters: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def parse(text: str) -> MediaType:
        """Read the value of ``Content-Type``. Raises UnsupportedMediaTypeError when it is none."""
        return _parse_one(text)

    @property
    def essence(self) -> str:
        """``type/subtype`` without parameters."""
        return f"{self.type}/{self.subtype}"

    @property
    def is_json(self) -> bool:
        """Whether content of it is JSON: ``*/json`` or ``*/*+json`` (CloudEvents HTTP binding section 3.1.1)."""
        return self.subtype == "json" or self.subtype.endswith("+json")

    @property
    def is_text(self) -> bool:
        """Whether it is one of ``text/*``."""
        return self.type == "text"

    def parameter(self, name: str) -> str | None:
        """The value of the parameter ``name`` (lower-case), as it was written."""
        return next((value for known, value in self.parameters if known == name), None)

    def covers(self, other: MediaType) -> bool:
        """Whether this range includes ``other``: wildcards, and each parameter but ``q`` is one of ``other``'s."""
        if (self.type, self.subtype) != ("*", "*") and self.type != other.type:
            return False
        if self.subtype not in ("*", other.subtype):
            return False
        return all(_same(value, other.parameter(name)) for name, value in self.parameters if name != "q")

    @property
    def specificity(self) -> tuple[bool, bool, int]:
        """Orders ranges: the greatest one that covers a type decides about it (RFC 9110 section 12.5.1)."""
        return self.type != "*", self.subtype != "*", sum(name != "q" for name, _ in self.parameters)


def negotiate(accept: str | None, offered: Sequence[str]) -> str | None:
    """Which of ``offered`` (best first) to answer with, or None when none is acceptable (406).

    The highest ``q`` wins and the order of ``offered`` decides between equals. No ``Accept``, or an empty one, accepts
    anything; a malformed one accepts nothing. Raises UnsupportedMediaTypeError when an offer itself is malformed.
    """
    return _negotiate(accept, tuple(offered))


@lru_cache(maxsize=MEMO_ENTRIES_MAX)
def _negotiate(accept: str | None, offered: tuple[str, ...]) -> str | None:
    if accept is None or not accept.strip(" \t"):
        return next(iter(offered), None)
    try:
        ranges = sorted(_parse_list(accept), key=lambda entry: entry.specificity, reverse=True)
        qualities = {entry: _quality(entry) for entry in ranges}
    except UnsupportedMediaTypeError:
        return None
    best, best_quality = None, 0
    for offer in offered:
        media_type = MediaType.parse(offer)
        quality = next((qualities[entry] for entry in ranges if entry.covers(media_type)), 0)
        if quality > best_quality:
            best, best_quality = offer, quality
    return best


@lru_cache(maxsize=MEMO_ENTRIES_MAX)
def _parse_one(text: str) -> MediaType:
    media_type, end = _read(text, 0)
    if end != len(text) or text.endswith(","):
        raise _malformed(text)
    return media_type


def _parse_list(text: str) -> Iterator[MediaType]:
    at = _skip_empty(text, 0)
    while at < len(text):
        media_type, at = _read(text, at)
        yield media_type
        at = _skip_empty(text, at)


def _skip_empty(text: str, at: int) -> int:
    found = _EMPTY_ELEMENTS.match(text, at)
    return found.end() if found else at


def _read(text: str, at: int) -> tuple[MediaType, int]:
    """One media type from ``at`` on, and where the next one begins."""
    essence = _ESSENCE.match(text, at)
    if essence is None or len(text) > HEADER_CHARACTERS_MAX:
        raise _malformed(text)
    parameters: dict[str, str] = {}
    at = essence.end()
    while found := _PARAMETER.match(text, at):
        name, token, quoted = found.groups()
        if name is not None:
            value = token if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            parameters.setdefault(name.lower(), value)
        at = found.end()
    end = _END.match(text, at)
    if end is None:
        raise _malformed(text)
    return MediaType(essence[1].lower(), essence[2].lower(), tuple(parameters.items())), end.end()


def _quality(entry: MediaType) -> int:
    """The weight in thousandths; any parameter named ``q`` is it, wherever it stands (RFC 9110 section 12.5.1)."""
    text = entry.parameter("q")
    if text is None:
        return 1_000
    if _QUALITY.fullmatch(text) is None:
        raise _malformed(text)
    return round(float(text) * 1_000)


def _same(wanted: str, found: str | None) -> bool:
    return found is not None and wanted.lower() == found.lower()


def _malformed(text: str) -> UnsupportedMediaTypeError:
    return UnsupportedMediaTypeError(f"{text[:_ECHO_CHARACTERS_MAX]!r} is not a media type")
