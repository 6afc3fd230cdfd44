"""A receiver that is gone ends its deliveries, until somebody says that it is back."""

from __future__ import annotations

from pathlib import Path

from tests.fault.webhooks.site import SETTINGS, Published, consented, definition, publish, push_to, reached
from tests.fault.work.workplace import all_done, counts_of, workplace
from tests.webhooks.receivers import Answer, Request, receiving, take
from waooaw.events.stream_message import Delivered

NAME = "agent"
STOPPED = "wowevent.subscription.stopped"
EVENTS = 50


async def test_gone_pauses_and_resuming_goes_on(tmp_path: Path) -> None:
    """410 pauses the subscription, an event on the bus tells it, nothing more is sent; a resume sends all the rest."""
    published = Published()
    async with workplace(tmp_path, "sqlite", settings=SETTINGS) as place, receiving() as receiver:

        def last_words(_: Request) -> Answer:
            return Answer(204 if len(receiver.posts) <= 10 else 410, body=b"moved to the country")

        receiver.script = last_words
        subscription = place.bus.subscription(NAME)
        await subscription.put(definition(push_to(receiver.url, concurrency=1)))
        await consented(place.bus, NAME)
        async with place.bus.stream(STOPPED) as stopped:
            await publish(place.bus, EVENTS, 1000.0, published)
            told = await anext(stopped)
        assert isinstance(told, Delivered)
        event = told.event
        assert event.source.endswith(f"/subscriptions/{NAME}")
        assert (event.data["subscription"], event.data["reason"]) == (NAME, "gone")
        state = await reached(place.bus, NAME, lambda state: state.stopped == "gone")
        assert state.state == "verified"
        assert (await subscription.info()).state == "paused"
        assert len(receiver.posts) == 11
        assert (await subscription.attempts())[0].status == 410

        receiver.script = take
        await subscription.resume()
        await all_done(place.bus, [NAME], 20.0)
        assert (await counts_of(place.bus, NAME)).acked == EVENTS == len(receiver.message_ids)
        assert len(receiver.posts) == EVENTS + 1
        assert (await reached(place.bus, NAME, lambda state: state.stopped is None)).state == "verified"
        assert {attempt.attempt for attempt in await subscription.attempts()} == {1}  # to be told "gone" is no failure
        page = await place.bus.read(STOPPED)
        assert len(page.events) == 1
        place.check_logs()
