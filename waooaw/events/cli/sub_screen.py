"""A subscription on one screen: where its events are, who holds them, what fails."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.cli.rows import cell, plain_console, table_of, write_json
from waooaw.events.cli.status import duration
from waooaw.events.clock import SystemClock
from waooaw.events.errors import InvalidParameterError
from waooaw.events.timestamp import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Group

    from waooaw.events.client.http_subscription import HttpSubscription

REFRESH_SECONDS: Final = 1.0

ROWS_MAX: Final = 10
"""Of each list: the screen is for a first look, `--json` has all that the service tells."""

COUNTS: Final = ("matched", "acked", "waiting", "leased", "scheduled", "dead", "expired", "overrun", "dropped")
RATES: Final = ("matched", "acked", "dead")


def show_once(members: dict[str, Any]) -> None:
    """Write one screen."""
    console = plain_console()
    console.print(screen(members, {}))
    console.file.flush()


async def watch_screen(subscription: HttpSubscription, *, as_json: bool) -> None:
    """Show a screen every second until interrupted: in place on a terminal, one below the other elsewhere."""
    from rich.live import Live

    clock = SystemClock()
    console = plain_console()
    before: tuple[float, dict[str, Any]] | None = None
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            members = await subscription.details()
            now = clock.monotonic()
            rates = {} if before is None else rates_between(before[1], members, now - before[0])
            before = now, members
            if as_json:
                write_json(members)
                sys.stdout.flush()
            elif console.is_terminal:
                live.update(screen(members, rates), refresh=True)
            else:
                console.print(screen(members, rates), "")
                console.file.flush()
            await asyncio.sleep(REFRESH_SECONDS)


def rates_between(before: dict[str, Any], after: dict[str, Any], seconds: float) -> dict[str, float]:
    """Return what was counted a second between two looks."""
    return {
        name: (after["counts"][name] - before["counts"][name]) / seconds for name in RATES if name in after["counts"]
    }


def screen(members: dict[str, Any], rates: dict[str, float]) -> Group:
    """Return what is shown of a subscription and its details, as the service spells them."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [Text("".join([f"{name:<14} {cell(value)}\n" for name, value in facts(members, rates)]), end="")]
    for heading, rows in lists(members):
        if rows:
            parts += ["", table_of(heading, rows)]
    return Group(*parts)


def facts(members: dict[str, Any], rates: dict[str, float]) -> Iterator[tuple[str, object]]:
    """Give what stands above the lists, a name and a value each."""
    counts = members["counts"]
    yield "subscription", f"{members['name']}, {members['state']}"
    yield "patterns", " ".join(members["patterns"])
    yield "receives", members.get("receives")
    for name in COUNTS:
        rate = f"  ({rates[name]:,.1f} a second)" if name in rates else ""
        yield name, f"{counts.get(name, 0):,}{rate}"
    yield "oldest", _oldest(members)
    if members.get("push"):
        yield from push_facts(members["push"])
    if counts.get("dead"):
        yield "oldest dead", _age(members.get("oldest_dead_seconds"))
    if members.get("fill"):
        yield "filling", f"from history: at {members['fill']['reached']}, through {members['fill']['through']}"
    if poison := members.get("suspected_poison"):
        yield "poison?", f"{poison['position']} failed {poison['failures']} times: {poison['last_error']}"
    for error in members.get("last_errors") or []:
        yield "last error", error


def push_facts(push: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Give how a subscription is pushed, and what holds it up; the secrets are not among it."""
    yield "pushed to", f"{push['url']}, {push['mode']}"
    state = push.get("state")
    if state is None:
        return
    yield "receiver", f"{state} since {push['since']}"
    if push.get("reason"):
        yield "reason", push["reason"]
    if push.get("stopped"):
        yield "stopped", f"as {push['stopped']}: the bus paused it"
    yield "breaker", push.get("breaker")
    if push.get("held_until"):
        yield "held until", push["held_until"]
    if push.get("failing_since"):
        yield "failing since", push["failing_since"]
    yield "in flight", f"{push.get('in_flight')} of {push['concurrency']}"
    if push.get("rate") is not None or push.get("allowed_per_minute") is not None:
        yield "rate", f"{cell(push.get('rate'))} a second; allowed per minute {cell(push.get('allowed_per_minute'))}"


def lists(members: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Sequence[tuple[object, ...]]]]:
    """Give the lists: members, leases, what fails; headings and rows each."""
    yield (
        ("member", "kind", "credit", "held", "replica"),
        [
            (item.get("member"), item.get("kind"), item.get("credit"), item.get("held"), item.get("replica"))
            for item in members.get("members") or []
        ][:ROWS_MAX],
    )
    yield (
        ("leased", "member", "failures", "lapses in"),
        [_holding(item)[:4] for item in members.get("leases") or []][:ROWS_MAX],
    )
    yield (
        ("failing", "member", "failures", "due in", "state", "last error"),
        [_holding(item) for item in members.get("failing") or []][:ROWS_MAX],
    )


def _holding(item: dict[str, Any]) -> tuple[object, ...]:
    due = _until(item.get("due"))
    return (item["position"], item.get("member"), item.get("failures"), due, item.get("state"), item.get("last_error"))


def _oldest(members: dict[str, Any]) -> str | None:
    """Return how old the oldest event is that is not settled; which one, and who has it, where that is known."""
    age, oldest = _age(members.get("oldest_waiting_seconds")), members.get("oldest")
    if age is None or oldest is None:
        return age
    if oldest["state"] != "leased":
        return f"{age}; oldest: {oldest['position']}, {oldest['state']}"
    holder = f" by {oldest['member']}" if oldest.get("member") else ""
    return f"{age}; held longest: {oldest['position']}, leased{holder}"


def _age(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds)


def _until(text: str | None) -> str | None:
    """Return how long it is until a time, as this machine's clock has it."""
    try:
        return None if text is None else duration(max(parse_timestamp(text) - SystemClock().now_ms(), 0) / 1000)
    except InvalidParameterError:
        return text
