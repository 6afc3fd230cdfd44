"""A durable subscription of a service, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from waooaw.events.client.calls import read_object
from waooaw.events.client.consume_socket import read_results
from waooaw.events.client.http_consumer import HttpConsumer
from waooaw.events.dead_letter import DeadLetterFilter, check_redrive_rate
from waooaw.events.dead_letter_wire import filter_members, read_dead_letter, read_dead_letter_page, read_redrive
from waooaw.events.delivery_wire import outcomes_json, read_claimed
from waooaw.events.errors import WowEventError
from waooaw.events.place import spell_place
from waooaw.events.push import TIMEOUT_SECONDS
from waooaw.events.push_wire import read_attempt, read_attempts
from waooaw.events.subscription import check_definition, check_name
from waooaw.events.subscription_wire import read_subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from waooaw.events.client.calls import Calls
    from waooaw.events.client.transport import Query
    from waooaw.events.dead_letter import DeadLetter, DeadLetterPage, RedriveResult
    from waooaw.events.delivery import ClaimedDeliveries, Settlement
    from waooaw.events.identifier import Identifiers
    from waooaw.events.place import Place
    from waooaw.events.push_state import Attempt
    from waooaw.events.stream_message import StreamStatus
    from waooaw.events.subscription import SubscriptionDefinition
    from waooaw.events.subscription_interface import Subscription
    from waooaw.events.subscription_state import SubscriptionInfo

ALL = DeadLetterFilter()

RECEIVER_SECONDS: Final = TIMEOUT_SECONDS[1] + 10.0
"""How much longer than others a call may take that waits for a receiver: its time-out, and its turn before."""


class HttpSubscription:
    """A subscription by its name; ``root`` is the path of its bus. Raises `InvalidParameterError` for what is no name.

    ``opened`` and ``closed`` are told of its consumers.
    """

    def __init__(
        self,
        calls: Calls,
        root: str,
        name: str,
        *,
        identifiers: Identifiers,
        opened: Callable[[HttpConsumer], None],
        closed: Callable[[HttpConsumer], None],
    ) -> None:
        check_name(name)
        self._calls = calls
        self._root = root
        self._name = name
        self._path = f"{root}/subscriptions/{name}"
        self._identifiers = identifiers
        self._opened = opened
        self._closed = closed

    @property
    def name(self) -> str:
        """See Subscription."""
        return self._name

    async def put(self, definition: SubscriptionDefinition) -> SubscriptionInfo:
        """See Subscription."""
        check_definition(definition)
        members = definition.to_members()
        if definition.start != "now":
            members["from"] = definition.start
        return await self._calls.send("PUT", self._path, read_info, body=msgspec.json.encode(members))

    async def info(self) -> SubscriptionInfo:
        """See Subscription."""
        return await self._calls.get(self._path, read_info)

    async def details(self) -> dict[str, Any]:
        """Return it as the service spells it, with who holds what, what fails, and its members."""
        return await self._calls.get(self._path, read_object, (("details", "true"),))

    async def delete(self) -> None:
        """See Subscription."""
        await self._calls.remove(self._path)

    async def pause(self) -> SubscriptionInfo:
        """See Subscription."""
        return await self._calls.send("POST", f"{self._path}/pause", read_info)

    async def resume(self) -> SubscriptionInfo:
        """See Subscription."""
        return await self._calls.send("POST", f"{self._path}/resume", read_info)

    async def seek(self, place: Place) -> SubscriptionInfo:
        """See Subscription."""
        body = msgspec.json.encode({"to": spell_place(place)})
        return await self._calls.send("POST", f"{self._path}/seek", read_info, body=body)

    # Deliveries -------------------------------------------------------------------------------------------------------

    async def claim(self, limit: int = 10, *, wait_seconds: float = 0.0, member: str = "") -> ClaimedDeliveries:
        """See Subscription."""
        wanted: dict[str, Any] = {"max": limit, "wait_seconds": wait_seconds}
        if member:
            wanted["member"] = member
        return await self._calls.send(
            "POST",
            f"{self._path}/claim",
            read_claimed,
            body=msgspec.json.encode(wanted),
            key=self._identifiers.new_token(),
            wait_seconds=wait_seconds,
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[WowEventError | None]:
        """See Subscription."""
        if not settlements:
            return []
        results = await self._calls.send(
            "POST",
            f"{self._path}/settle",
            read_results,
            body=b'{"outcomes":%b}' % outcomes_json(settlements),
            key=self._identifiers.new_token(),
        )
        if len(results) != len(settlements):
            message = f"the service answered {len(results)} results for {len(settlements)} outcomes"
            raise WowEventError(message)
        return results

    def consume(
        self, *, credit: int = 100, member: str = "", watch: Callable[[StreamStatus], None] | None = None
    ) -> HttpConsumer:
        """See Subscription."""
        consumer = HttpConsumer(
            self._calls,
            f"{self._root}/ws",
            self._name,
            credit=credit,
            member=member,
            settle=self.settle,
            watch=watch,
            closed=self._closed,
        )
        self._opened(consumer)
        return consumer

    # Dead letters -----------------------------------------------------------------------------------------------------

    async def dead_letters(
        self, which: DeadLetterFilter | None = None, *, after: str = "", limit: int = 100
    ) -> DeadLetterPage:
        """See Subscription."""
        query = [*_query(which or ALL), ("limit", str(limit))]
        if after:
            query.append(("after", after))
        return await self._calls.get(f"{self._path}/dead-letters", read_dead_letter_page, tuple(query))

    async def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return one dead letter; raises `NotFoundError`."""
        return await self._calls.get(f"{self._path}/dead-letters/{quote(letter_id, safe='')}", read_dead_letter)

    async def redrive(
        self, which: DeadLetterFilter | None = None, *, dry_run: bool = False, rate: float | None = None
    ) -> RedriveResult:
        """See Subscription. Repeated after an answer that was lost, it tells of what was left."""
        check_redrive_rate(rate)
        members: dict[str, Any] = filter_members(which or ALL)
        if dry_run:
            members["dry_run"] = True
        if rate is not None:
            members["rate"] = rate
        body = msgspec.json.encode(members)
        return await self._calls.send("POST", f"{self._path}/dead-letters/redrive", _read_redrive, body=body)

    async def purge(self, which: DeadLetterFilter | None = None, *, confirm: str = "") -> int:
        """See Subscription."""
        query: Query = tuple(_query(which or ALL))
        if confirm:
            query = (*query, ("confirm", confirm))
        return await self._calls.send("DELETE", f"{self._path}/dead-letters", _read_purged, query=query)

    # The receiver of its push -----------------------------------------------------------------------------------------

    async def verify(self) -> SubscriptionInfo:
        """See Subscription."""
        return await self._calls.send("POST", f"{self._path}/verify", read_info, wait_seconds=RECEIVER_SECONDS)

    async def attempts(self, limit: int = 100) -> list[Attempt]:
        """See Subscription."""
        return await self._calls.get(f"{self._path}/attempts", _read_attempts, (("limit", str(limit)),))

    async def send_test(self) -> Attempt:
        """See Subscription. Repeated after an answer that was lost, it sends another one."""
        return await self._calls.send("POST", f"{self._path}/test", _read_attempt, wait_seconds=RECEIVER_SECONDS)

    async def redeliver(self, position: Place) -> Attempt:
        """See Subscription. Repeated after an answer that was lost, it sends it once more."""
        body = msgspec.json.encode({"position": spell_place(position)})
        return await self._calls.send(
            "POST", f"{self._path}/redeliver", _read_attempt, body=body, wait_seconds=RECEIVER_SECONDS
        )


def read_info(body: bytes) -> SubscriptionInfo:
    """Read a subscription."""
    return read_subscription(read_object(body))


def _query(which: DeadLetterFilter) -> Iterator[tuple[str, str]]:
    for name, value in filter_members(which).items():
        for item in value if isinstance(value, list) else [value]:
            yield name, item


def _read_redrive(body: bytes) -> RedriveResult:
    return read_redrive(read_object(body))


def _read_attempt(body: bytes) -> Attempt:
    return read_attempt(read_object(body))


def _read_attempts(body: bytes) -> list[Attempt]:
    return read_attempts(read_object(body))


def _read_purged(body: bytes) -> int:
    return int(read_object(body)["purged"])


if TYPE_CHECKING:
    _: type[Subscription] = HttpSubscription
