"""A sender as a replica has it, with a dialer of its own, for receivers on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from tests.webhooks.receivers import ALLOWED_NETWORKS
from waooaw.events.clock import Clock, SystemClock
from waooaw.events.name_lookup import system_look_up
from waooaw.events.webhook_address import AllowedNetworks
from waooaw.events.webhooks.dialing import Dialer
from waooaw.events.webhooks.messages import Message
from waooaw.events.webhooks.sending import Sender

ORIGIN: Final = "bus.example"
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE: Final = Message("in.1", {"Content-Type": "application/json"}, b'{"number":1}')


@asynccontextmanager
async def sending(
    *networks: str, clock: Clock | None = None, look_up: Callable[[str], Iterable[str]] = system_look_up
) -> AsyncIterator[Sender]:
    """Open a sender into some networks, loopback where none is said."""
    async with AsyncExitStack() as stack:
        dialer = Dialer(AllowedNetworks.parse(networks or [ALLOWED_NETWORKS]), look_up=look_up)
        await dialer.open(stack)
        yield Sender(dialer, origin=ORIGIN, clock=clock or SystemClock())
