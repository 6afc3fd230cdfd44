"""Which queues an event goes to: equal ones share a set, none is named twice, and one append takes what it can."""

from __future__ import annotations

from collections import defaultdict
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bus.running import BUS, TestedEngine
from tests.event_samples import entry
from waooaw.events.bus.subscription_routes import (
    REFERENCES_MAX,
    KnownSubscription,
    SubscriptionRoutes,
    fitting,
    route_sets,
)
from waooaw.events.delivery_attributes import NORMAL
from waooaw.events.engine.queue_contract import QueueItem, RouteSet
from waooaw.events.engine.subscription_contract import SubscriptionRecord
from waooaw.events.event import Entry
from waooaw.events.pattern import PatternSet
from waooaw.events.position import BEGINNING
from waooaw.events.subscription import SubscriptionDefinition


def routes_of(*given: tuple[str, bool]) -> SubscriptionRoutes:
    """Return routes that know a subscription for each pattern, keyed or not, as ``s0``, ``s1`` and so on."""
    routes = SubscriptionRoutes(TestedEngine(), BUS)
    for number, (pattern, is_keyed) in zip(count(), given, strict=False):
        record = SubscriptionRecord(
            f"s{number}",
            f"{number:016x}",
            b"",
            0,
            BEGINNING,
            is_paused=False,
            max_waiting=100 + number,
            is_keyed=is_keyed,
        )
        definition = SubscriptionDefinition(patterns=PatternSet.parse([pattern]))
        routes.known[record.name] = KnownSubscription(record, definition)
    return routes


def sets_of(routes: SubscriptionRoutes, *entries: Entry) -> tuple[RouteSet, ...]:
    """Return the references that entries make."""
    return route_sets(entries, routes.match(entries))


def test_without_subscriptions_nothing_is_matched() -> None:
    """A bus without subscriptions looks at no entry, and its appends carry no references."""
    routes = routes_of()

    assert routes.match([entry(), entry()]) == []
    assert sets_of(routes, entry(), entry()) == ()


def test_a_thousand_equal_subscriptions_cost_one_set() -> None:
    """Subscriptions that get the same events are named together, once; the items are spelled once."""
    routes = routes_of(*[("*", False)] * 1000)

    (found,) = sets_of(routes, entry(type="a"), entry(type="b"), entry(type="c"))

    assert len(found.queues) == 1000
    assert found.queues[7] == (f"{7:016x}", 107)
    assert [item.index for item in found.items] == [0, 1, 2]


def test_an_item_says_how_urgent_an_event_is_and_until_when() -> None:
    """Priority and expiry come from the event; the key only where the queue goes by it, and then no priority does."""
    routes = routes_of(("*", False), ("*", True))
    urgent = entry(priority="critical", expirytime="2026-01-01T00:00:00Z", partitionkey="k")

    plain, keyed = sets_of(routes, urgent)

    assert plain.items == (QueueItem(0, 0, "", 1_767_225_600_000),)
    assert keyed.items == (QueueItem(0, NORMAL, urgent.delivery.ordering_key, 1_767_225_600_000),)
    assert (plain.queues, keyed.queues) == (((f"{0:016x}", 100),), ((f"{1:016x}", 101),))
    assert len(urgent.delivery.ordering_key) == 16


def test_an_event_that_nobody_wants_makes_no_reference() -> None:
    """What matches no pattern is in no item; where nothing matches there is no set."""
    routes = routes_of(("a.*", False))

    assert sets_of(routes, entry(type="b.x")) == ()
    (found,) = sets_of(routes, entry(type="b.x"), entry(type="a.x"))
    assert [item.index for item in found.items] == [1]


TYPES = st.sampled_from(["a.x", "a.y", "b.x", "b.y", "c"])
PATTERNS = st.tuples(st.sampled_from(["*", "a.*", "b.*", "*.x", "*.y", "c", "nothing"]), st.booleans())


@given(patterns=st.lists(PATTERNS, max_size=8), types=st.lists(TYPES, max_size=12))
def test_each_queue_gets_what_it_matches_in_the_order_of_the_log(
    patterns: list[tuple[str, bool]], types: list[str]
) -> None:
    """Whatever overlaps: a queue is in one set, which holds exactly the events that its patterns match, in order."""
    routes = routes_of(*patterns)
    entries = [entry(type=name) for name in types]

    found = sets_of(routes, *entries)

    given_to: dict[str, list[int]] = defaultdict(list)
    for part in found:
        assert part.items
        for incarnation, _ in part.queues:
            assert incarnation not in given_to
            given_to[incarnation] = [item.index for item in part.items]
    for known in routes.known.values():
        matches = known.definition.patterns.matches
        assert given_to[known.record.incarnation] == [i for i, name in enumerate(types) if matches(name)]
    assert len(found) == len({(part.items, bool(part.items[0].key)) for part in found})


@pytest.mark.parametrize(("queues", "entries", "fits"), [(1000, 50, 50), (1000, 51, 50), (1000, 1000, 50), (3, 9, 9)])
def test_an_append_takes_fifty_thousand_references(queues: int, entries: int, fits: int) -> None:
    """Beyond that, entries wait for the next append."""
    routes = routes_of(*[("*", False)] * queues)

    assert fitting(routes.match([entry()] * entries)) == fits


def test_one_event_goes_to_as_many_as_there_are() -> None:
    """An event alone is never split, however many want it; what nobody wants takes no room beside it."""
    routes = routes_of(*[("a", False)] * (REFERENCES_MAX + 1))

    assert fitting(routes.match([entry(type="a"), entry(type="a")])) == 1
    assert fitting(routes.match([entry(type="b"), entry(type="b"), entry(type="a")])) == 2
