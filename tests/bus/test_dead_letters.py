"""Dead letters: looked into by parts, put back at a rate, destroyed only once somebody has seen how many."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.bus.delivering import NAME, Desk, Member, outcomes, settled, until, working
from waooaw.events.bus import dead_letters as dead_letters_module
from waooaw.events.dead_letter import DeadLetter, DeadLetterFilter, RedriveResult
from waooaw.events.errors import ConfirmationRequiredError, InvalidParameterError, NotFoundError
from waooaw.events.pattern import PatternSet

ALL = DeadLetterFilter()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with working() as desk:
        await desk.subscribe()
        yield desk


async def bury(desk: Desk, count: int = 1, reason: str = "broken", **members: object) -> None:
    """Publish events, and have them rejected."""
    await desk.publish(count, **members)
    deliveries = (await desk.bus.deliveries.claim(NAME, count)).deliveries
    assert len(deliveries) == count
    await desk.bus.deliveries.settle(NAME, outcomes("reject", *deliveries, reason=reason))
    desk.clock.advance(1.0)


async def browse(desk: Desk, which: DeadLetterFilter = ALL, **given: object) -> list[DeadLetter]:
    """Return all that are meant, page by page."""
    found: list[DeadLetter] = []
    after = ""
    while True:
        page = await desk.bus.dead_letters.browse(NAME, which, after=after, **given)  # type: ignore[arg-type]  # as given
        found += page.items
        if page.next is None:
            return found
        after = page.next


def numbers(letters: list[DeadLetter]) -> list[object]:
    """Return the data of their events."""
    return [letter.stored.event.data for letter in letters]


async def test_all_is_told_of_a_dead_letter(desk: Desk) -> None:
    """A dead letter says why it died, how often it was tried, who had it last, and carries its event whole."""
    await bury(desk, 1, "cannot read it", subject="s")

    (letter,) = await browse(desk)

    assert (letter.reason, letter.attempts, letter.last_error) == ("rejected", 1, "cannot read it")
    assert letter.first_failure_ms == letter.last_failure_ms == desk.clock.now_ms() - 1000
    assert letter.stored.event.subject == "s"
    assert await desk.bus.dead_letters.get(NAME, letter.id) == letter


@pytest.mark.parametrize("letter_id", ["", "x", "1-1", "99999999999999-5", "1-1-1"])
async def test_one_that_is_not_there(desk: Desk, letter_id: str) -> None:
    """An id of no dead letter is `NotFoundError`, whatever it looks like."""
    await bury(desk)

    with pytest.raises(NotFoundError):
        await desk.bus.dead_letters.get(NAME, letter_id)


async def test_they_are_found_by_what_they_are(desk: Desk) -> None:
    """A filter finds by id, reason, type, time and text, each alone and all together."""
    await bury(desk, 2, "Timeout of the database", type="a.one")
    second_ms = desk.clock.now_ms()
    await bury(desk, 1, "no such customer", type="a.two")
    third_ms = desk.clock.now_ms()
    await bury(desk, 3, "no such order", type="b")
    ids = [letter.id for letter in await browse(desk)]

    async def found(**members: object) -> list[str]:
        return [letter.id for letter in await browse(desk, DeadLetterFilter(**members))]  # type: ignore[arg-type]  # as given

    assert await found(ids=frozenset((ids[4], ids[1]))) == [ids[1], ids[4]]
    assert await found(ids=frozenset(("5-5",))) == []
    assert await found(reason="rejected") == ids
    assert await found(reason="max_attempts") == []
    assert await found(patterns=PatternSet.parse(["a.*"])) == ids[:3]
    assert await found(died_from_ms=second_ms) == ids[2:]
    assert await found(died_before_ms=third_ms) == ids[:3]
    assert await found(text="TIMEOUT") == ids[:2]
    assert await found(text='"data":2') == [ids[5]]
    assert await found(text="no such", died_before_ms=third_ms, ids=frozenset(ids)) == [ids[2]]


@pytest.mark.parametrize("read_letters", [1, 2, 100])
async def test_pages_go_on_where_the_last_one_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, read_letters: int
) -> None:
    """Page by page every dead letter comes once, however the pages are cut."""
    monkeypatch.setattr(dead_letters_module, "READ_LETTERS", read_letters)
    await bury(desk, 4)
    await bury(desk, 3)
    letters = await browse(desk)
    ids = frozenset(letter.id for letter in letters[1::2])

    assert numbers(letters) == [0, 1, 2, 3, 0, 1, 2]
    assert await browse(desk, limit=2) == letters
    assert await browse(desk, limit=7) == letters
    assert await browse(desk, DeadLetterFilter(ids=ids), limit=1) == letters[1::2]


async def test_a_page_looks_at_a_bounded_number(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that fits little ends its page short, and says where to go on."""
    monkeypatch.setattr(dead_letters_module, "LOOKED_AT_MAX", 3)
    await bury(desk, 5)

    page = await desk.bus.dead_letters.browse(NAME, DeadLetterFilter(text='"data":4'))

    assert page.items == ()
    assert page.next is not None
    assert numbers(await browse(desk, DeadLetterFilter(text='"data":4'))) == [4]


async def test_what_is_asked_wrongly_is_refused(desk: Desk) -> None:
    """Limits, ids and rates outside their rule, and subscriptions that are not there, are errors."""
    letters = desk.bus.dead_letters
    for given in ({"limit": 0}, {"limit": 1001}, {"after": "x"}):
        with pytest.raises(InvalidParameterError):
            await letters.browse(NAME, ALL, **given)
    with pytest.raises(InvalidParameterError):
        await letters.browse(NAME, DeadLetterFilter(ids=frozenset(("x",))))
    for rate in (0.0, -1.0, 1e9, float("nan")):
        with pytest.raises(InvalidParameterError):
            await letters.redrive(NAME, ALL, rate=rate)
    for call in (letters.browse("nobody", ALL), letters.get("nobody", "1-1"), letters.redrive("nobody", ALL)):
        with pytest.raises(NotFoundError):
            await call
    with pytest.raises(NotFoundError):
        await letters.purge("nobody", ALL)


async def test_a_redrive_puts_back_what_is_meant(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Those that a filter means are tried anew, as replays; the others stay. A dry run only counts."""
    await bury(desk, 2, type="a")
    await bury(desk, 3, type="b")
    which = DeadLetterFilter(patterns=PatternSet.parse(["b"]))

    assert await desk.bus.dead_letters.redrive(NAME, which, dry_run=True) == RedriveResult(3, 0)
    assert ((await desk.counts()).dead, caplog.messages[5:]) == (5, [])
    assert await desk.bus.dead_letters.redrive(NAME, which) == RedriveResult(3, 3)

    counts = await desk.counts()
    assert (counts.dead, counts.waiting) == (2, 3)
    again = (await desk.bus.deliveries.claim(NAME, 10)).deliveries
    assert [(one.stored.type, one.attempt, one.replay) for one in again] == [("b", 1, True)] * 3
    assert "dead_letter.redriven (DLQ)" in caplog.messages
    assert desk.bus.metrics.totals.latency.count == 5  # of the first time; a redrive has none


async def test_a_redrive_of_many_is_made_in_steps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one step of the engine takes are put back all, in their order."""
    monkeypatch.setattr(dead_letters_module, "MOVED_MAX", 2)
    monkeypatch.setattr(dead_letters_module, "READ_LETTERS", 3)
    await bury(desk, 7)

    assert await desk.bus.dead_letters.redrive(NAME, ALL) == RedriveResult(7, 7)

    again = (await desk.bus.deliveries.claim(NAME, 10)).deliveries
    assert [one.event.data for one in again] == list(range(7))


async def test_a_redrive_keeps_its_rate(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rate they come back one after the other, over all steps of the engine and without a call that waits."""
    monkeypatch.setattr(dead_letters_module, "MOVED_MAX", 3)
    await bury(desk, 8)
    member = Member(desk)
    await settled()

    assert await desk.bus.dead_letters.redrive(NAME, ALL, rate=2.0) == RedriveResult(8, 8)
    got = []
    for _ in range(8):
        await settled()
        got.append(len(member.deliveries))
        await desk.pass_time(0.5, 0.05)

    assert got == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_purge_has_to_be_confirmed(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Without a token nothing is destroyed, and the error says how many would be; with it they are gone."""
    await bury(desk, 2, type="a")
    await bury(desk, 3, type="b")
    which = DeadLetterFilter(patterns=PatternSet.parse(["b"]), text="broken")

    with pytest.raises(ConfirmationRequiredError) as asked:
        await desk.bus.dead_letters.purge(NAME, which)
    assert (asked.value.count, (await desk.counts()).dead) == (3, 5)
    desk.clock.advance(59.0)
    assert await desk.bus.dead_letters.purge(NAME, which, confirm=asked.value.confirm) == 3

    counts = await desk.counts()
    assert (counts.dead, counts.dropped) == (2, 3)
    assert "dead_letter.purged (DLQ)" in caplog.messages


async def test_what_died_after_the_count_stays(desk: Desk) -> None:
    """A purge destroys as many as the person was told, whatever has died since."""
    await bury(desk, 2)
    with pytest.raises(ConfirmationRequiredError) as asked:
        await desk.bus.dead_letters.purge(NAME, ALL)
    desk.clock.advance(1.0)
    await bury(desk, 3)

    assert await desk.bus.dead_letters.purge(NAME, ALL, confirm=asked.value.confirm) == 2
    assert (await desk.counts()).dead == 3


async def test_a_token_is_good_for_a_minute_and_one_filter(desk: Desk) -> None:
    """A token of another filter, of another subscription, that is too old or was made up confirms nothing."""
    await bury(desk, 2)
    await desk.subscribe("other")

    async def token(name: str, which: DeadLetterFilter) -> str:
        with pytest.raises(ConfirmationRequiredError) as asked:
            await desk.bus.dead_letters.purge(name, which)
        return asked.value.confirm

    good = await token(NAME, ALL)
    late = f"{int(good.partition('.')[0]) + 60}.{good.partition('.')[2]}"
    for confirm in (
        await token("other", ALL),
        await token(NAME, DeadLetterFilter(text="broken")),
        late,
        good[:-1],
        good.replace("-", "", 1),
        "1.2",
        "x",
        "²³.4",
        "9" * 400 + ".5",
    ):
        with pytest.raises(ConfirmationRequiredError):
            await desk.bus.dead_letters.purge(NAME, ALL, confirm=confirm)
    desk.clock.advance(61.0)
    with pytest.raises(ConfirmationRequiredError):
        await desk.bus.dead_letters.purge(NAME, ALL, confirm=good)
    assert (await desk.counts()).dead == 2


async def test_what_dies_during_a_redrive_is_not_moved_in_a_circle(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redrive ends though a member rejects again all that it gets."""
    monkeypatch.setattr(dead_letters_module, "READ_LETTERS", 2)
    await bury(desk, 6)
    member = Member(desk)

    assert await desk.bus.dead_letters.redrive(NAME, ALL) == RedriveResult(6, 6)
    await until(lambda: len(member.deliveries) == 6)
    await member.consumption.settle(outcomes("reject", *member.deliveries))

    assert (await desk.counts()).dead == 6
