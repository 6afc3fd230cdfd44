"""The bus of a service: the interface of every bus, over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from waooaw.events.bus_names import DEFAULT_BUS, check_bus_name
from waooaw.events.client.calls import JSON, Calls, read_object
from waooaw.events.client.http_stream import HttpStream
from waooaw.events.client.http_subscription import HttpSubscription
from waooaw.events.client.patience import Patience
from waooaw.events.client.problem import decode_json
from waooaw.events.client.publishing import HttpPublisher
from waooaw.events.client.reading import read_item, read_log, read_page
from waooaw.events.client.transport import Transport
from waooaw.events.clock import SystemClock
from waooaw.events.dead_letter_wire import read_scheduled_page
from waooaw.events.identifier import RandomIdentifiers, new_chance
from waooaw.events.place import spell_place
from waooaw.events.subscription_wire import read_reports, read_subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random
    from types import TracebackType

    from waooaw.events.client.http_consumer import HttpConsumer
    from waooaw.events.client.transport import Query
    from waooaw.events.clock import Clock
    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Event, StoredEvent
    from waooaw.events.event_page import EventPage
    from waooaw.events.identifier import Identifiers
    from waooaw.events.interface import Bus
    from waooaw.events.log_info import LogInfo
    from waooaw.events.place import Place
    from waooaw.events.receipt import Receipt
    from waooaw.events.scheduled_event import ScheduledPage
    from waooaw.events.stream_message import StreamStatus
    from waooaw.events.subscription_state import DeliveryReport, SubscriptionInfo

_OK: Final = 200
_STUCK: Final = 503


class HttpBus:
    """A bus of the service at an address. Raises `InvalidSettingError` for what is no address, or no name of a bus."""

    def __init__(
        self,
        url: str,
        *,
        bus: str = DEFAULT_BUS,
        patience_seconds: float = 30.0,
        clock: Clock | None = None,
        identifiers: Identifiers | None = None,
        chance: Random | None = None,
    ) -> None:
        check_bus_name(bus)
        self.name = bus
        self._root = "/v1" if bus == DEFAULT_BUS else f"/v1/buses/{bus}"
        self._transport = Transport(url)
        self._chance = chance or new_chance()
        self._patience = Patience(patience_seconds, clock or SystemClock(), self._chance)
        self._calls = Calls(self._transport, self._patience)
        self._identifiers = identifiers or RandomIdentifiers()
        self._publisher = HttpPublisher(self._transport, f"{self._root}/events", self._patience, self._identifiers)
        self._streams: set[HttpStream] = set()
        self._consumers: set[HttpConsumer] = set()

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        """See Bus."""
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See Bus."""
        for stream in tuple(self._streams):
            await stream.close()
        await asyncio.gather(*[consumer.close() for consumer in self._consumers])
        await self._transport.close()

    async def publish(self, event: Event) -> Receipt:
        """See Bus."""
        return await self._publisher.publish(event.to_json())

    async def publish_many(self, events: Iterable[Event]) -> list[Receipt | WowEventError]:
        """See Bus."""
        return await self._publisher.publish_many(event.to_json() for event in events)

    async def publish_texts(self, texts: Iterable[bytes]) -> list[Receipt | WowEventError]:
        """Store events given as JSON, as `publish_many` does; numbers and strings stay as they are spelled."""
        return await self._publisher.publish_many(texts)

    async def read(
        self,
        *patterns: str,
        start: Place = "earliest",
        end: Place = "now",
        source: str | None = None,
        correlationid: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
    ) -> EventPage:
        """See Bus."""
        query = [("pattern", pattern) for pattern in patterns]
        query += [("from", spell_place(start)), ("to", spell_place(end)), ("limit", str(limit))]
        if source is not None:
            query.append(("source", source))
        if correlationid is not None:
            query.append(("correlationid", correlationid))
        if newest_first:
            query.append(("order", "desc"))
        return await self._calls.get(f"{self._root}/events", read_page, tuple(query))

    async def get(self, position: Place) -> StoredEvent:
        """See Bus."""
        return await self._calls.get(f"{self._root}/events/{spell_place(position)}", read_item)

    def stream(
        self, *patterns: str, start: Place = "now", watch: Callable[[StreamStatus], None] | None = None
    ) -> HttpStream:
        """See Bus."""
        stream = HttpStream(
            self._transport,
            f"{self._root}/stream",
            patterns,
            bus=self.name,
            start=spell_place(start),
            chance=self._chance,
            watch=watch,
            closed=self._streams.discard,
        )
        self._streams.add(stream)
        return stream

    def subscription(self, name: str) -> HttpSubscription:
        """See Bus."""
        return HttpSubscription(
            self._calls,
            self._root,
            name,
            identifiers=self._identifiers,
            opened=self._consumers.add,
            closed=self._consumers.discard,
        )

    async def subscriptions(self) -> list[SubscriptionInfo]:
        """See Bus."""
        return await self._calls.get(f"{self._root}/subscriptions", _read_subscriptions)

    async def deliveries(self, position: Place) -> list[DeliveryReport]:
        """See Bus."""
        return await self._calls.get(f"{self._root}/events/{spell_place(position)}/deliveries", _read_reports)

    async def scheduled(self, *, after: str = "", limit: int = 100) -> ScheduledPage:
        """See Bus."""
        query: Query = (("limit", str(limit)), *((("after", after),) if after else ()))
        return await self._calls.get(f"{self._root}/scheduled", read_scheduled_page, query)

    async def cancel_scheduled(self, schedule_id: str) -> None:
        """See Bus."""
        await self._calls.remove(f"{self._root}/scheduled/{quote(schedule_id, safe='')}")

    async def log(self) -> LogInfo:
        """See Bus."""
        return await self._calls.get(f"{self._root}/log", read_log)

    async def health(self, *, details: bool = False) -> dict[str, Any]:
        """See Bus. Asks once: how a service does that must be asked again is no news."""
        query: Query = (("details", "true"),) if details else ()
        answer = await self._transport.call(
            "GET", "/health", query=query, headers=JSON, seconds=self._patience.begin().seconds_left
        )
        if answer.status in {_OK, _STUCK}:
            members = self._transport.decoded(answer, decode_json)
            if isinstance(members, dict) and "status" in members and "code" not in members:
                return members
        raise self._transport.error_of(answer)

    async def metrics(self) -> dict[str, Any]:
        """Return what ``GET /metrics`` answers in JSON: the metrics of all buses of the service."""
        return await self._calls.get("/metrics", read_object)


def _read_subscriptions(body: bytes) -> list[SubscriptionInfo]:
    return [read_subscription(item) for item in read_object(body)["items"]]


def _read_reports(body: bytes) -> list[DeliveryReport]:
    return read_reports(read_object(body))


if TYPE_CHECKING:
    _: type[Bus] = HttpBus
