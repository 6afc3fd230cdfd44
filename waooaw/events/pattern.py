r"""Patterns over event types: the glob of Redis ``PSUBSCRIBE``, so that a pattern means the same on every engine.

Rule 1: for every pattern accepted here and every event type, the answer is that of Redis (util.c, stringmatchlen).
Rule 2: what Redis reads in a way that surprises (an unclosed ``[``, a trailing backslash) is refused, not guessed at.
Rule 3: matching takes at most ``len(pattern) * len(event_type)`` steps, whatever the pattern.

How Redis reads a class, where globs differ: ``]`` always closes, first place included, so ``[]`` matches nothing and
``[^]`` anything; ``x-y`` is a range whatever ``y`` is, so ``[a-]`` is unclosed and ``[a-]]`` runs from ``]`` to ``a``;
a reversed range is swapped; a backslash quotes the next character, but is itself the end of a range in ``[a-\]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from waooaw.events.errors import InvalidPatternError, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

PATTERN_CHARACTERS_MAX: Final = 255
"""The length of the longest event type: a longer pattern could only say the same in more words."""

PATTERN_STARS_MAX: Final = 16
"""More than any taxonomy has levels; keeps patterns cheap on Redis releases whose matcher is exponential in stars."""

PATTERNS_MAX: Final = 256
"""Patterns of one subscription or stream; each is tried once for every event type not yet in the memo."""

MEMO_TYPES_MAX: Final = 8192
"""Event types a memo keeps: far over a real taxonomy, and with the longest types some 3 MB a memo."""

_STAR: Final = None
_ASCII: Final = frozenset(map(chr, range(128)))

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One glob, read and ready. Made by ``Pattern.parse``; equal when the texts are equal."""

    text: str
    head: str = field(compare=False, repr=False)
    middle: tuple[Container[str] | None, ...] = field(compare=False, repr=False)
    tail: str = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str, *, pointer: str = "#/pattern") -> Self:
        """Read ``text``; ``pointer`` says where it stands in the request.

        Raises InvalidPatternError: empty, over ``PATTERN_CHARACTERS_MAX``, over ``PATTERN_STARS_MAX`` stars that are
        not quoted, a character that is not printable ASCII, an unclosed ``[``, a trailing backslash.
        """
        try:
            tokens = _tokens(text)
        except _RefusedError as refused:
            violation = Violation(pointer, refused.detail, refused.code)
            raise InvalidPatternError(f"the pattern {refused.detail}", errors=(violation,)) from None
        begin, end = 0, len(tokens)
        while begin < end and isinstance(tokens[begin], str):
            begin += 1
        while begin < end and isinstance(tokens[end - 1], str):
            end -= 1
        head, tail = ("".join(map(str, part)) for part in (tokens[:begin], tokens[end:]))
        return cls(text=text, head=head, middle=tuple(tokens[begin:end]), tail=tail)

    def matches(self, event_type: str) -> bool:
        """Whether ``event_type``, a legal one (so ASCII and not empty), matches.

        The literal ends are compared first, natively: ``task.created``, ``*``, ``task.*``, ``*.failed`` and
        ``task.*.failed`` need no more than that.
        """
        head, middle, tail = self.head, self.middle, self.tail
        if not middle:
            return event_type == head
        begin, end = len(head), len(event_type) - len(tail)
        if begin > end or not event_type.startswith(head) or not event_type.endswith(tail):
            return False
        return middle == (_STAR,) or match_tokens(middle, event_type[begin:end])

    def __str__(self) -> str:
        """The text that was parsed."""
        return self.text


@dataclass(frozen=True, slots=True)
class PatternSet:
    """Patterns of which one match is enough."""

    patterns: tuple[Pattern, ...]

    @classmethod
    def parse(cls, texts: Sequence[str], *, pointer: str = "#/patterns") -> Self:
        """Read all ``texts``, equal ones once.

        Raises InvalidPatternError: one of them is bad, there are none, or over ``PATTERNS_MAX``.
        """
        if not 1 <= len(texts) <= PATTERNS_MAX:
            detail = f"must be 1 to {PATTERNS_MAX}, not {len(texts)}"
            raise InvalidPatternError(f"the patterns {detail}", errors=(Violation(pointer, detail, "pattern_count"),))
        parsed = (Pattern.parse(text, pointer=f"{pointer}/{index}") for index, text in enumerate(texts))
        return cls(tuple(dict.fromkeys(parsed)))

    def matches(self, event_type: str) -> bool:
        """Whether any of the patterns matches."""
        return any(pattern.matches(event_type) for pattern in self.patterns)


class PatternMemo(Generic[Result]):
    """Remembers what an event type matched, so that matching is one lookup. Not safe across threads.

    Full, it forgets everything: the next ``limit`` types pay once more, and no bookkeeping is on the path of a hit.
    """

    def __init__(self, match: Callable[[str], Result], *, limit: int = MEMO_TYPES_MAX) -> None:
        self._match = match
        self._limit = limit
        self._results: dict[str, Result] = {}

    def __len__(self) -> int:
        """How many types are remembered; never over the limit."""
        return len(self._results)

    def __call__(self, event_type: str) -> Result:
        """What ``match(event_type)`` answered, this time or before; an error of ``match`` is not remembered."""
        try:
            return self._results[event_type]
        except KeyError:
            result = self._match(event_type)
        if len(self._results) >= self._limit:
            self._results.clear()
        self._results[event_type] = result
        return result

    def clear(self) -> None:
        """Forget everything; for when the set of patterns has changed."""
        self._results.clear()


def match_tokens(tokens: Sequence[Container[str] | None], text: str) -> bool:
    """Whether the whole ``text`` matches; a token is the characters allowed in one place, or None for any run.

    Only the latest star is ever retried: an earlier star taking more could only move what follows further right,
    where the latest star looks anyway. That bounds the steps by ``len(tokens) * len(text)``. Two stars may not be
    neighbours.
    """
    at, token, end, last = 0, 0, len(text), len(tokens)
    after_star, retry = -1, 0
    while at < end:
        allowed = tokens[token] if token < last else ""
        if allowed is _STAR:
            token += 1
            if token == last:
                return True
            after_star, retry = token, at
        elif text[at] in allowed:
            at += 1
            token += 1
        elif after_star >= 0:
            retry += 1
            at, token = retry, after_star
        else:
            return False
    return token == last or (token == last - 1 and tokens[token] is _STAR)


class _RefusedError(Exception):
    """Why a text is no pattern; never leaves this module."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


def _tokens(text: str) -> list[Container[str] | None]:
    """What ``text`` allows, place by place, adjacent stars joined."""
    _check_characters(text)
    tokens: list[Container[str] | None] = []
    at = stars = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "*":
            stars += 1
            if not tokens or tokens[-1] is not _STAR:
                tokens.append(_STAR)
        elif character == "?":
            tokens.append(_ASCII)
        elif character == "[":
            allowed, at = _class(text, at)
            tokens.append(allowed)
        elif character == "\\":
            if at == len(text):
                raise _RefusedError(f"ends in a backslash that quotes nothing, at character {at}", "pattern_quote")
            tokens.append(text[at])
            at += 1
        else:
            tokens.append(character)
    if stars > PATTERN_STARS_MAX:
        raise _RefusedError(f"has {stars} stars, over {PATTERN_STARS_MAX}", "pattern_stars")
    return tokens


def _check_characters(text: str) -> None:
    if not text:
        raise _RefusedError("is empty", "pattern_empty")
    if len(text) > PATTERN_CHARACTERS_MAX:
        raise _RefusedError(f"has {len(text)} characters, over {PATTERN_CHARACTERS_MAX}", "pattern_length")
    if not (text.isascii() and text.isprintable()):
        wrong = next(index for index, character in enumerate(text, 1) if not " " <= character <= "~")
        raise _RefusedError(f"has a character that is not printable ASCII, at character {wrong}", "pattern_character")


def _class(text: str, begin: int) -> tuple[frozenset[str], int]:
    """The characters that the class after the ``[`` allows, and where it ends; branch by branch as Redis reads it."""
    allowed: set[str] = set()
    negated = text.startswith("^", begin)
    at = begin + negated
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            allowed.add(text[at + 1])
            at += 2
        elif text[at] == "]":
            return (_ASCII - allowed if negated else frozenset(allowed)), at + 1
        elif at + 2 < len(text) and text[at + 1] == "-":
            low, high = sorted((text[at], text[at + 2]))
            allowed.update(map(chr, range(ord(low), ord(high) + 1)))
            at += 3
        else:
            allowed.add(text[at])
            at += 1
    raise _RefusedError(f"has a '[' that is not closed, at character {begin}", "pattern_class")
