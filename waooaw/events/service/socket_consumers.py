"""The members that one WebSocket is: deliveries out, outcomes in, for as many subscriptions as it asks for.

Rule 1: what a claim got for a member is one write, spelled around the bytes that the log has.
Rule 2: a member whose client takes nothing gets nothing more until it does: its credit is held back.
Rule 3: outcomes are taken until the socket closes, also while the service goes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from waooaw.events.delivery import CLAIM_MAX, MEMBER_LENGTH_MAX
from waooaw.events.delivery_wire import delivery_message
from waooaw.events.errors import InvalidParameterError, InvalidRequestError, Violation, WowEventError
from waooaw.events.service.delivering import Outcomes
from waooaw.events.service.framings import text_frame
from waooaw.events.service.typed_json import decode_typed
from waooaw.events.subscription import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waooaw.events.bus.consumption import Consumption
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.delivery import Delivery
    from waooaw.events.service.socket_sink import SocketSink
    from waooaw.events.service.websocket_messages import Operation

SUBSCRIPTIONS_MAX: Final = 100
"""Subscriptions of one socket: an agent has a handful."""

BUFFERED_BYTES_MAX: Final = 1024 * 1024
"""What waits for a client before its members get nothing more: some milliseconds of a fast link."""

CREDIT_DEFAULT: Final = 100

_name_decoder: Final = msgspec.json.Decoder(str)
_credit_decoder: Final = msgspec.json.Decoder(Annotated[int, Meta(ge=0, le=CLAIM_MAX)])
_member_decoder: Final = msgspec.json.Decoder(Annotated[str, Meta(max_length=MEMBER_LENGTH_MAX)])
_outcomes_decoder: Final = msgspec.json.Decoder(Outcomes)


class SocketMember:
    """One member of one subscription."""

    __slots__ = ("_held_back", "_sink", "_spelled", "consumption", "credit", "id", "member")

    def __init__(self, sink: SocketSink, name: str, member: str, credit: int) -> None:
        self._sink = sink
        self._spelled = name.encode()
        self._held_back: asyncio.Task[None] | None = None
        self.id: str | None = None
        self.member = member
        self.credit = credit
        self.consumption: Consumption | None = None

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries, each as a message of its own, all at once."""
        name = self._spelled
        self._sink.write(b"".join([text_frame(delivery_message(name, delivery)) for delivery in deliveries]))
        if self._held_back is None and self._sink.buffered_bytes() > BUFFERED_BYTES_MAX:
            self._held_back = asyncio.get_running_loop().create_task(self._hold_back(), name="hold back")

    async def _hold_back(self) -> None:
        if self.consumption is None:
            return
        self.consumption.set_credit(0)
        try:
            await self._sink.drained()
        except ConnectionError:  # the reading end sees it, too, and closes
            return
        finally:
            self._held_back = None
        if self.consumption is not None:
            self.consumption.set_credit(self.credit)

    def set_credit(self, credit: int) -> None:
        """Change how many deliveries may be unsettled."""
        self.credit = credit
        if self.consumption is not None and self._held_back is None:
            self.consumption.set_credit(credit)

    async def close(self) -> None:
        """End, and give back what is held."""
        if self._held_back is not None:
            self._held_back.cancel()
        if self.consumption is not None:
            await self.consumption.close()


class SocketConsumers:
    """All members of one socket. ``ended`` is told the id of a consume that ends by itself, and why."""

    __slots__ = ("_bus", "_closing", "_ended", "_members", "_sink", "is_leaving")

    def __init__(self, bus: EventBus, sink: SocketSink, ended: Callable[[str | None, WowEventError], None]) -> None:
        self._bus = bus
        self._sink = sink
        self._ended = ended
        self._members: dict[str, SocketMember] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.is_leaving = False

    @property
    def held(self) -> int:
        """Deliveries that are unsettled."""
        return sum(member.consumption.held for member in self._members.values() if member.consumption is not None)

    async def consume(self, operation: Operation) -> dict[str, Any]:
        """Become a member, or change the credit of one; return what is answered."""
        name = _subscription(operation)
        credit = operation.typed("credit", _credit_decoder, CREDIT_DEFAULT)
        member_name = operation.typed("member", _member_decoder, None)
        member = self._members.get(name)
        if member is None:
            member = await self._begin(name, member_name or "", credit)
        elif member_name is not None and member_name != member.member:
            message = f"this socket consumes {name} as {member.member!r}; open another socket for another member"
            raise _invalid("member", message)
        else:
            member.set_credit(0 if self.is_leaving else credit)
        member.id = operation.id
        return {"subscription": name, "credit": member.credit, "member": member.member}

    async def _begin(self, name: str, member_name: str, credit: int) -> SocketMember:
        if len(self._members) >= SUBSCRIPTIONS_MAX:
            message = f"a socket consumes at most {SUBSCRIPTIONS_MAX} subscriptions; open another one"
            raise InvalidRequestError(message)
        await self._bus.subscriptions.find(name)  # one that another replica made a moment ago
        member = SocketMember(self._sink, name, member_name, 0 if self.is_leaving else credit)

        def ended(error: WowEventError) -> None:
            if self._members.get(name) is member:
                del self._members[name]
            closing = asyncio.get_running_loop().create_task(member.close(), name="close member")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._ended(member.id, error)

        member.consumption = self._bus.deliveries.consume(
            name, member=member_name, credit=member.credit, deliver=member.deliver, ended=ended
        )
        self._members[name] = member
        return member

    def read_settle(self, operation: Operation) -> tuple[str, Outcomes]:
        """Return the subscription and the outcomes of a settle; raises what is wrong with them."""
        name = _subscription(operation)
        if "outcomes" not in operation.fields:
            message = "outcomes is required"
            raise _invalid("outcomes", message)
        return name, decode_typed(_outcomes_decoder, operation.fields["outcomes"], pointer="#/outcomes")

    async def settle(self, name: str, outcomes: Outcomes) -> list[WowEventError | None]:
        """Settle deliveries of this socket, or of any other claim."""
        member = self._members.get(name)
        if member is None or member.consumption is None:
            return await self._bus.deliveries.settle(name, outcomes)
        return await member.consumption.settle(outcomes)

    def stop(self) -> None:
        """Hand out nothing more; what is held can be settled."""
        self.is_leaving = True
        for member in self._members.values():
            member.set_credit(0)

    async def close(self) -> None:
        """End all, and give back what is held."""
        members, self._members = list(self._members.values()), {}
        await asyncio.gather(*[member.close() for member in members], *self._closing)


def _subscription(operation: Operation) -> str:
    name = operation.typed("subscription", _name_decoder, None)
    if name is None:
        message = "subscription is required"
        raise _invalid("subscription", message)
    try:
        check_name(name)
    except InvalidParameterError as error:
        raise _invalid("subscription", error.detail) from None
    return name


def _invalid(field: str, message: str) -> InvalidParameterError:
    return InvalidParameterError(message, errors=(Violation(f"#/{field}", message, InvalidParameterError.code),))
