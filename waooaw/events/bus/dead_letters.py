"""Dead letters of the subscriptions of one bus: look into them, put them back, destroy them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waooaw.events.bus.subscriptions import Subscriptions
    from waooaw.events.clock import Clock
    from waooaw.events.dead_letter import DeadLetter, DeadLetterFilter, DeadLetterPage, RedriveResult
    from waooaw.events.engine.contract import Engine


class DeadLetters:
    """What operators call."""

    def __init__(self, engine: Engine, bus: str, subscriptions: Subscriptions, *, clock: Clock) -> None:
        raise NotImplementedError

    async def browse(self, name: str, which: DeadLetterFilter, *, after: str = "", limit: int = 100) -> DeadLetterPage:
        """Return up to ``limit`` (1 to 1,000) that are meant, oldest first, after an id; a page may be short."""
        raise NotImplementedError

    async def get(self, name: str, letter_id: str) -> DeadLetter:
        """Return one; raises `NotFoundError`."""
        raise NotImplementedError

    async def redrive(
        self, name: str, which: DeadLetterFilter, *, dry_run: bool = False, rate: float | None = None
    ) -> RedriveResult:
        """Put those that are meant back into the subscription, at most ``rate`` a second (None: at once)."""
        raise NotImplementedError

    async def purge(self, name: str, which: DeadLetterFilter, *, confirm: str = "") -> int:
        """Destroy those that are meant; return how many.

        Raises `ConfirmationRequiredError` with a token, good for 60 s and for the same filter, unless it is given.
        """
        raise NotImplementedError
