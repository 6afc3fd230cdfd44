"""(f) What claiming and acking costs Redis: as the log grows, and as other subscriptions are added."""

from __future__ import annotations

import asyncio
import functools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import msgspec

from bench.errors import BenchError
from bench.real_events import real_events
from bench.redis.redis_server import running_redis
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import in_turns
from waooaw.events.acceptance import Acceptance, AcceptanceLimits
from waooaw.events.clock import SystemClock
from waooaw.events.engine.queue_contract import ClaimRequest, QueueItem, RouteSet, SettleRequest
from waooaw.events.engine.redis import RedisEngine, RedisOptions
from waooaw.events.engine.subscription_contract import PutSubscription, Rules
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

    from waooaw.events.event import Entry

LETTER: Final = "f"
TITLE: Final = "on Redis: claim and ack, as log and subscriptions grow"

_SMALL, _LARGE, _CROWDED = "10,000 events", "1,000,000 events", "10,000 events, 1,000 subscriptions"
_SIZES: Final = {_SMALL: (10_000, 1), _LARGE: (1_000_000, 1), _CROWDED: (10_000, 1000)}
_BATCH: Final = 200
_CLAIMS: Final = 40
"""A round takes 8,000 events, and puts as many back by publishing as many more."""
_APPEND: Final = 1000
_CHANGES: Final = 100
_BUSES: Final = ("small", "large", "crowded")
_TARGET: Final = Target(comparison="<=", bound=1.15)
_QUEUE: Final = f"{0:016x}"
_RULES: Final = Rules(
    lease_seconds=300,
    max_in_flight=1000,
    max_waiting=10_000_000,
    is_keyed=False,
    retry=RetryPolicy(),
    drops_exhausted=False,
)


def run(context: Context) -> Report:
    """Measure the three on one Redis, in turns, by Redis' own processor time."""
    entries = [
        Acceptance(AcceptanceLimits(), SystemClock(), RandomIdentifiers()).one(text) for text in real_events(100)
    ]
    with running_redis(context) as store, store.client() as client, asyncio.Runner() as runner:
        stack = AsyncExitStack()
        clock, identifiers = SystemClock(), RandomIdentifiers()
        engine = RedisEngine(store.url, list(_BUSES), clock=clock, identifiers=identifiers, options=RedisOptions())
        try:
            runner.run(engine.open(stack))
            queues = {name: Queue(engine, bus, entries) for name, bus in zip(_SIZES, _BUSES, strict=True)}
            for name, (events, subscriptions) in _SIZES.items():
                runner.run(queues[name].prepare(events, subscriptions))

            def one_round(queue: Queue) -> float:
                before = _cpu_seconds(client)
                runner.run(queue.take())
                cost = (_cpu_seconds(client) - before) / (_BATCH * _CLAIMS)
                runner.run(queue.publish(_BATCH * _CLAIMS))
                return 1e6 * cost

            rounds = in_turns(context, {name: functools.partial(one_round, queue) for name, queue in queues.items()})
        finally:
            runner.run(stack.aclose())
    figures = {name: Figure(name=name, unit="us/event", values=values) for name, values in rounds.items()}
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            *figures.values(),
            ratio(figures[_LARGE], figures[_SMALL], f"{_LARGE} / {_SMALL}", _TARGET),
            ratio(figures[_CROWDED], figures[_SMALL], f"{_CROWDED} / {_SMALL}", _TARGET),
        ],
        notes=[
            f"Redis' processor time of claiming {_BATCH} and acking them, {_CLAIMS} times a round; no service beside",
            "the events wait in the queue of one subscription; the other 999 match nothing",
            "events are 100 real ones of 450 bytes in turn",
        ],
    )


def _cpu_seconds(client: redis.Redis) -> float:
    """Return the processor time of Redis' main thread, to the microsecond: the kernel's table counts hundredths."""
    used = client.info("cpu")
    return float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"])


class Queue:
    """The queue of one subscription on a bus of its own."""

    def __init__(self, engine: RedisEngine, bus: str, entries: Sequence[Entry]) -> None:
        """Store; `prepare` fills it."""
        self._engine = engine
        self._bus = bus
        self._entries = [msgspec.structs.replace(entry, id_given=False) for entry in entries]
        self._writer = ""
        self._routes_version = ""
        self._sequence = 0
        self._claims = 0

    async def prepare(self, events: int, subscriptions: int) -> None:
        """Make the subscriptions, and publish what waits in the first one."""
        puts = [
            PutSubscription(name=f"s{number}", incarnation=f"{number:016x}", definition=b"{}", rules=_RULES)
            for number in range(subscriptions)
        ]
        for start in range(0, subscriptions, _CHANGES):
            await self._engine.change_subscriptions(
                self._bus, puts[start : start + _CHANGES], subscriptions_max=subscriptions
            )
        self._writer = (await self._engine.register(self._bus)).writer
        self._routes_version = (await self._engine.routes(self._bus)).version
        await self.publish(events)

    async def publish(self, events: int) -> None:
        """Add events to log and queue."""
        for start in range(0, events, _APPEND):
            size = min(_APPEND, events - start)
            entries = [self._entries[index % len(self._entries)] for index in range(size)]
            items = tuple(QueueItem(index, 2, "", 0) for index in range(size))
            references = [RouteSet(((_QUEUE, _RULES.max_waiting),), items)]
            self._sequence += 1
            await self._engine.append(
                self._bus, self._writer, self._sequence, self._routes_version, entries, references=references
            )

    async def take(self) -> None:
        """Claim and ack one round. Raises BenchError where less comes than waits."""
        for _ in range(_CLAIMS):
            self._claims += 1
            claimed = await self._engine.claim(self._bus, _QUEUE, "bench", self._claims, [ClaimRequest("m", _BATCH)])
            acks = [SettleRequest(lease.reference, lease.nonce, "ack") for lease in claimed.leases]
            settled = await self._engine.settle(self._bus, _QUEUE, "bench", self._claims, acks)
            if len(acks) != _BATCH or 0 in settled.attempts:
                raise BenchError(f"a claim of {_BATCH} got {len(acks)}, acked {settled.attempts}")
