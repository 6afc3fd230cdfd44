"""One subscription that a command names: the way to it, and how it is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from waooaw.events.cli.event_line import printable
from waooaw.events.cli.rows import write_json
from waooaw.events.cli.service_address import reached
from waooaw.events.clock import SystemClock
from waooaw.events.subscription_wire import subscription_members

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from waooaw.events.client.http_subscription import HttpSubscription
    from waooaw.events.subscription_state import SubscriptionInfo

json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Write it as the service answers it, in JSON."
)


async def ask(url: str, bus_name: str, name: str, call: Callable[[HttpSubscription], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what the call returns
    """Return what a call of a subscription returns."""
    async with reached(url, bus_name) as bus:
        return await call(bus.subscription(name))


def tell(info: SubscriptionInfo, *, as_json: bool) -> None:
    """Write how a subscription stands: a sentence for people, JSON for programs."""
    members = subscription_members(info, SystemClock().now_ms())
    if as_json:
        write_json(members)
        return
    counts = info.queue.counts
    left = ", ".join(f"{getattr(counts, place):,} {place}" for place in ("waiting", "leased", "scheduled", "dead"))
    sys.stdout.write(f"{info.name} is {info.state} and receives {members['receives']}; {left}\n")
    if (push := info.push_state) is not None:
        why = "" if push.reason is None else f": {printable(push.reason)}"
        stopped = "" if push.stopped is None else f"; the bus paused it, the receiver is {push.stopped}"
        sys.stdout.write(f"its receiver is {push.state}{why}{stopped}\n")
