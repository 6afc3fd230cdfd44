"""The subscriptions of one bus on Redis; see `waooaw.events.engine.subscription_contract.Subscriptions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import RedisError

from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.asking import Attempt
from waooaw.events.engine.redis.layout import read_head
from waooaw.events.engine.redis.queue_spelling import pad_position, read_padded, read_queue_state, spell_rules
from waooaw.events.engine.redis.queues import CALL_SECONDS, deleted
from waooaw.events.engine.subscription_contract import (
    Changed,
    DeleteSubscription,
    PauseSubscription,
    PutSubscription,
    Routes,
    SubscriptionRecord,
)
from waooaw.events.errors import (
    NotFoundError,
    OrderingFixedError,
    SubscriptionExistsError,
    TooManySubscriptionsError,
)
from waooaw.events.outages import EngineUnavailableError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.link import Argument
    from waooaw.events.engine.subscription_contract import SubscriptionChange
    from waooaw.events.errors import WowEventError
    from waooaw.events.position import Position
    from waooaw.events.subscription_state import QueueState

CHANGES_KEPT: Final = 1000
"""Changes that are told one by one; who knows an older version gets all subscriptions."""

SEEK_STEP: Final = 1000
"""References dropped by one script, which blocks Redis for about 5 ms."""

_Answer = Changed | NotFoundError | OrderingFixedError | SubscriptionExistsError | TooManySubscriptionsError


class _Asked(NamedTuple):
    """A change, and what its subscription was when it was first asked for."""

    change: SubscriptionChange
    before: SubscriptionRecord | None


class SubscriptionStore:
    """The subscriptions of one bus."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def routes(self, known_version: str) -> Routes:
        """Return all subscriptions, or those that changed since a version."""
        keys = self._bus.keys
        session = await self._bus.keeper.session(CALL_SECONDS)
        reply = await self._bus.evaluate(
            session, script.ROUTES, (keys.meta, keys.subscriptions, keys.changes), (known_version,)
        )
        if reply[0] == b"no_bus":
            raise await self._no_bus()
        version, is_whole, flat = reply
        pairs = sorted(zip(flat[::2], flat[1::2], strict=True))
        records = tuple([read_record(name.decode(), text) for name, text in pairs if text])
        gone = tuple([name.decode() for name, text in pairs if not text])
        return Routes(version.decode(), records, gone, is_whole=bool(is_whole))

    async def change(
        self, changes: Sequence[SubscriptionChange], subscriptions_max: int, patience_seconds: float
    ) -> tuple[Changed | WowEventError, ...]:
        """Change subscriptions: those of different names in one step."""
        attempt = Attempt(patience_seconds)
        answers: list[Changed | WowEventError] = []
        for part in _by_different_names(changes):
            attempt.may_be_done = False
            answers += await self._change(part, subscriptions_max, attempt)
        return tuple(answers)

    async def _change(
        self, changes: Sequence[SubscriptionChange], subscriptions_max: int, attempt: Attempt
    ) -> list[_Answer]:
        first: list[SubscriptionRecord | None] | None = None
        while True:
            try:
                found = await self._find([change.name for change in changes], attempt)
                first = first or found
                reply = await self._ask(changes, found, subscriptions_max, attempt)
                if reply[0] == b"ok":
                    break
                if reply[0] == b"no_bus":
                    raise await self._no_bus()
            except UnavailableError as error:
                attempt.failed(error)
                await self._bus.asker.pause()
        if self._bus.tracker.take(read_head(reply[-1])):
            await self._bus.learn_epoch()
        asked = [_Asked(*pair) for pair in zip(changes, first, strict=True)]
        said = zip(reply[1:-1:2], reply[2:-1:2], strict=True)
        return [
            _read_answer(became.decode(), text, one, subscriptions_max, may_be_done=attempt.may_be_done)
            for one, (became, text) in zip(asked, said, strict=True)
        ]

    async def _find(self, names: Sequence[str], attempt: Attempt) -> list[SubscriptionRecord | None]:
        """Return subscriptions by name: the keys of their queues have to be declared."""
        session = await self._bus.keeper.session(attempt.remaining_seconds)
        try:
            texts = await session.writing.call(
                "HMGET", self._bus.keys.subscriptions, *names, timeout_seconds=attempt.try_seconds
            )
        except RedisError as error:
            raise self._bus.refused(session, error) from None
        pairs = zip(names, texts, strict=True)
        return [None if text is None else read_record(name, text) for name, text in pairs]

    async def _ask(
        self,
        changes: Sequence[SubscriptionChange],
        found: Sequence[SubscriptionRecord | None],
        subscriptions_max: int,
        attempt: Attempt,
    ) -> list[Any]:
        bus = self._bus
        keys = [bus.keys.meta, bus.keys.epochs, bus.keys.subscriptions, bus.keys.changes]
        arguments: list[Argument] = [
            f"{bus.identifiers.new_epoch():016x}",
            bus.options.now_us(),
            subscriptions_max,
            CHANGES_KEPT,
            bus.options.publish_command,
            bus.keys.live,
        ]
        for change, record in zip(changes, found, strict=True):
            made = change.incarnation if isinstance(change, PutSubscription) else ""
            incarnation = made if record is None else record.incarnation
            keys += bus.keys.queue(incarnation).deleted
            # One that an earlier try made, whose answer was lost, is new to the caller.
            is_made = bool(made) and incarnation == made and (record is None or attempt.may_be_done)
            arguments += (*_spell(change)[:2], incarnation, int(is_made), *_spell(change)[2:])
        adds = any(isinstance(change, PutSubscription) for change in changes)
        wanted = script.CHANGE_SUBSCRIPTIONS if adds else script.END_SUBSCRIPTIONS
        reply: list[Any] = await bus.asker.control(wanted, keys, arguments, attempt)
        return reply

    async def _no_bus(self) -> EngineUnavailableError:
        await self._bus.learn_epoch()
        return EngineUnavailableError("the bus was not in Redis; it is made anew")

    async def seek(self, incarnation: str, start: Position) -> QueueState:
        """Drop what waits, in steps, and begin a fill; a seek that is asked again begins the same one again."""
        bus = self._bus
        keys = bus.keys.of_queues([incarnation])
        while True:
            arguments = (
                pad_position(start),
                SEEK_STEP,
                bus.options.publish_command,
                bus.keys.live,
                incarnation,
                bus.options.now_us(),
            )
            reply = await bus.asker.control(script.SEEK, keys, arguments, Attempt(CALL_SECONDS))
            if reply[0] == b"gone":
                raise deleted()
            if reply[0] == b"ok":
                return read_queue_state(reply[1])


def read_record(name: str, text: bytes) -> SubscriptionRecord:
    """Read a subscription as it is kept."""
    head, _, definition = text.partition(b"\n")
    incarnation, created_ms, after, is_paused, is_keyed, max_waiting = head.decode().split(" ")
    return SubscriptionRecord(
        name,
        incarnation,
        definition,
        int(created_ms),
        read_padded(after)[0],
        is_paused == "1",
        int(max_waiting),
        is_keyed == "1",
    )


def _spell(change: SubscriptionChange) -> tuple[Argument, ...]:
    """Return a change as the script knows it: what, name, definition, rules, start, value, max waiting."""
    if isinstance(change, PutSubscription):
        rules = change.rules
        start = "" if change.start is None else pad_position(change.start)
        return (
            *("put", change.name, change.definition, spell_rules(rules), start),
            *(int(rules.is_keyed), rules.max_waiting),
        )
    if isinstance(change, PauseSubscription):
        return ("pause", change.name, "", "", "", int(change.is_paused), "")
    since_ms = "" if change.unclaimed_since_ms is None else change.unclaimed_since_ms
    return ("delete", change.name, "", "", "", since_ms, "")


def _by_different_names(changes: Sequence[SubscriptionChange]) -> list[list[SubscriptionChange]]:
    """Split changes, in order, so that no part has one name twice: what the first does decides about the second."""
    parts: list[list[SubscriptionChange]] = []
    names: set[str] = set()
    for change in changes:
        if not parts or change.name in names:
            parts.append([])
            names = set()
        parts[-1].append(change)
        names.add(change.name)
    return parts


def _read_answer(became: str, text: bytes, asked: _Asked, subscriptions_max: int, *, may_be_done: bool) -> _Answer:
    name = asked.change.name
    if became == "not_found":
        if may_be_done and asked.before is not None and isinstance(asked.change, DeleteSubscription):
            return Changed(asked.before, is_deleted=True)  # by an earlier try, whose answer was lost
        return NotFoundError(f"there is no subscription {name}")
    if became == "exists":
        message = f"the subscription {name} exists; where it starts counts when it is made, seek moves it"
        return SubscriptionExistsError(message)
    if became == "ordering":
        return OrderingFixedError(f"the ordering of {name} cannot change; delete it, or make another one beside it")
    if became == "too_many":
        message = f"the bus has as many subscriptions as it may, {subscriptions_max}; delete unused ones"
        return TooManySubscriptionsError(message)
    return Changed(read_record(name, text), is_new=became == "made", is_deleted=became == "deleted")
