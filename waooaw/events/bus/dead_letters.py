"""Dead letters of the subscriptions of one bus: look into them, put them back, destroy them.

Rule 1: looking is bounded: a page looks at so many dead letters at most, and may be short without being the end.
Rule 2: what is to be moved is found first and moved then: what comes back dead meanwhile is not moved in a circle.
Rule 3: nothing is destroyed without having been counted: see `DeadLetters.purge`.
"""

from __future__ import annotations

import logging
import re
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.dead_letter import DeadLetterPage, RedriveResult, check_redrive_rate
from waooaw.events.errors import ConfirmationRequiredError, InvalidParameterError, NotFoundError, Violation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from waooaw.events.bus.subscription_routes import KnownSubscription
    from waooaw.events.bus.subscriptions import Subscriptions
    from waooaw.events.clock import Clock
    from waooaw.events.dead_letter import DeadLetter, DeadLetterFilter
    from waooaw.events.engine.contract import Engine

_log = logging.getLogger("wowevent.dead_letter")

PAGE_MAX: Final = 1000
LOOKED_AT_MAX: Final = 1000
"""Dead letters that one page looks at: with events of common size some milliseconds."""

READ_LETTERS: Final = 100
"""Full copies in one answer of the engine: 25 MB of the largest events."""

MOVED_MAX: Final = 1000
"""Moved in one step of the engine."""

CONFIRM_SECONDS: Final = 60

_ID: Final = re.compile(r"([0-9]{1,15})-([0-9]{1,16})", re.ASCII)
_LAST_NUMBER: Final = 2**53 - 1
"""At or after every number in a millisecond; the largest that every engine's arithmetic has exactly."""


class DeadLetters:
    """What operators call."""

    def __init__(self, engine: Engine, bus: str, subscriptions: Subscriptions, *, clock: Clock) -> None:
        self._engine = engine
        self._bus = bus
        self._subscriptions = subscriptions
        self._clock = clock

    # Looking ----------------------------------------------------------------------------------------------------------

    async def browse(self, name: str, which: DeadLetterFilter, *, after: str = "", limit: int = 100) -> DeadLetterPage:
        """Return up to ``limit`` (1 to 1,000) that are meant, oldest first, after an id; a page may be short.

        Raises `NotFoundError` for the subscription, `InvalidParameterError` for what is no id or no limit.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise _invalid("limit", f"must be between 1 and {PAGE_MAX}, not {limit}")
        if after:
            _key(after, "after")
        known = await self._subscriptions.find(name)
        items: list[DeadLetter] = []
        looked_at = 0
        async for letters in self._read(known, which, after):
            for letter in letters:
                looked_at += 1
                if which.matches(letter):
                    items.append(letter)
                if len(items) == limit or looked_at == LOOKED_AT_MAX:
                    return DeadLetterPage(tuple(items), letter.id)
        return DeadLetterPage(tuple(items), None)

    async def get(self, name: str, letter_id: str) -> DeadLetter:
        """Return one; raises `NotFoundError`."""
        known = await self._subscriptions.find(name)
        if _ID.fullmatch(letter_id) is not None:
            letters = await self._engine.dead_letters(
                self._bus, known.record.incarnation, after=_before(letter_id), limit=1
            )
            if letters and letters[0].id == letter_id:
                return letters[0]
        raise NotFoundError(f"the subscription {name} has no dead letter {letter_id[:64]!r}")

    async def _read(
        self, known: KnownSubscription, which: DeadLetterFilter, after: str = ""
    ) -> AsyncIterator[Sequence[DeadLetter]]:
        """Read all after an id that may be meant, in parts: ids that are named are gone to directly."""
        wanted = sorted(which.ids, key=lambda text: _key(text, "id")) if which.ids is not None else None
        if wanted is None and which.died_from_ms is not None:  # a dead letter's own time is not before its failure
            begin = f"{max(which.died_from_ms - 1, 0)}-{_LAST_NUMBER}"
            after = max(after, begin, key=lambda text: _key(text or "0-0", "after"))
        while True:
            if wanted is not None:
                wanted = [text for text in wanted if not after or _key(text, "id") > _key(after, "after")]
                if not wanted:
                    return
                after = _before(wanted[0])
            limit = READ_LETTERS if wanted is None else min(READ_LETTERS, len(wanted))
            letters = await self._engine.dead_letters(self._bus, known.record.incarnation, after=after, limit=limit)
            if not letters:
                return
            yield letters
            after = letters[-1].id

    async def _find(self, known: KnownSubscription, which: DeadLetterFilter) -> list[str]:
        """Return the ids of all that are meant now."""
        ids: list[str] = []
        async for letters in self._read(known, which):
            ids += [letter.id for letter in letters if which.matches(letter)]
        return ids

    # Moving -----------------------------------------------------------------------------------------------------------

    async def redrive(
        self, name: str, which: DeadLetterFilter, *, dry_run: bool = False, rate: float | None = None
    ) -> RedriveResult:
        """Put those that are meant back into the subscription, at most ``rate`` a second (None: at once).

        The rate is kept by the times at which they become due, over all members; the call returns at once. Interrupted,
        it leaves the rest as it was. Raises `NotFoundError`, `InvalidParameterError`, and `UnavailableError` kinds.
        """
        check_redrive_rate(rate)
        known = await self._subscriptions.find(name)
        ids = await self._find(known, which)
        if dry_run:
            return RedriveResult(len(ids), 0)
        spacing_ms = 0.0 if rate is None else 1000 / rate
        redriven = 0
        try:
            for start in range(0, len(ids), MOVED_MAX):
                redriven += await self._engine.redrive(
                    self._bus,
                    known.record.incarnation,
                    ids[start : start + MOVED_MAX],
                    delay_ms=round(start * spacing_ms),
                    spacing_ms=spacing_ms,
                )
        finally:
            self._tell("dead_letter.redriven (DLQ)", name, redriven)
        return RedriveResult(len(ids), redriven)

    async def purge(self, name: str, which: DeadLetterFilter, *, confirm: str = "") -> int:
        """Destroy those that are meant and were counted; return how many.

        Raises `ConfirmationRequiredError` with their count and a token unless ``confirm`` is such a token: good for
        60 s at any replica, for the same filter, and for none that died since. Raises `NotFoundError` and
        `UnavailableError` kinds.
        """
        known = await self._subscriptions.find(name)
        if not self._is_confirmed(known, which, confirm):
            counted = await self._find(known, which)
            count = len(counted)
            detail = (
                f"this destroys {count:,} {'dead letter' if count == 1 else 'dead letters'} of {name} for good: "
                f"repeat the call with the token within {CONFIRM_SECONDS} s"
            )
            expiry = self._clock.now_ms() // 1000 + CONFIRM_SECONDS
            token = _confirmation(known, which, expiry, counted[-1] if counted else "0-0")
            raise ConfirmationRequiredError(detail, count=count, confirm=token)
        last = _key(confirm.split(".")[1], "confirm")
        ids = [letter_id for letter_id in await self._find(known, which) if _key(letter_id, "id") <= last]
        purged = 0
        try:
            for start in range(0, len(ids), MOVED_MAX):
                purged += await self._engine.purge(self._bus, known.record.incarnation, ids[start : start + MOVED_MAX])
        finally:
            self._tell("dead_letter.purged (DLQ)", name, purged)
        return purged

    def _is_confirmed(self, known: KnownSubscription, which: DeadLetterFilter, confirm: str) -> bool:
        expiry, _, rest = confirm.partition(".")
        last, _, _ = rest.partition(".")
        if not (expiry.isascii() and expiry.isdecimal()) or len(expiry) > len(str(_LAST_NUMBER)):
            return False
        remaining = int(expiry) - self._clock.now_ms() // 1000
        if not 0 <= remaining <= 2 * CONFIRM_SECONDS:  # later than any that was given, clocks of replicas differing
            return False
        return compare_digest(confirm.encode(), _confirmation(known, which, int(expiry), last).encode())

    def _tell(self, event: str, name: str, count: int) -> None:
        if count:
            _log.warning(event, extra={"bus": self._bus, "subscription": name, "dead_letters": count})


def _confirmation(known: KnownSubscription, which: DeadLetterFilter, expiry: int, last: str) -> str:
    """Return the token: it says what it is good for, and is no secret; it keeps a person from a slip."""
    meant = (
        known.record.incarnation,
        expiry,
        last,
        None if which.ids is None else sorted(which.ids),
        which.reason,
        None if which.patterns is None else sorted(pattern.text for pattern in which.patterns.patterns),
        which.died_from_ms,
        which.died_before_ms,
        which.text,
    )
    return f"{expiry}.{last}.{blake2b(msgspec.json.encode(meant), digest_size=16).hexdigest()}"


def _key(text: str, name: str) -> tuple[int, int]:
    """Read an id, so that ids sort as the dead letters do."""
    found = _ID.fullmatch(text)
    if found is None:
        raise _invalid(name, f"{text[:64]!r} is no id of a dead letter")
    return int(found[1]), int(found[2])


def _before(letter_id: str) -> str:
    """Return an id between a dead letter and the one before it."""
    milliseconds, number = _key(letter_id, "id")
    if number:
        return f"{milliseconds}-{number - 1}"
    return f"{milliseconds - 1}-{_LAST_NUMBER}" if milliseconds else ""


def _invalid(name: str, detail: str) -> InvalidParameterError:
    violation = Violation(f"#/{name}", detail, InvalidParameterError.code)
    return InvalidParameterError(f"{name} {detail}", errors=(violation,))
