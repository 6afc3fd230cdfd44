"""What a replica knows of a bus, from answers that come in any order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.redis.layout import Head
from waooaw.events.engine.redis.tracker import Tracker
from waooaw.events.epoch import Epoch
from waooaw.events.position import BEGINNING, make_position

EPOCH = Epoch(1, BEGINNING)
HEAD = Head(1, make_position(1000), BEGINNING, make_position(1000), 1, 10, 0, "1-0")


def _tracker() -> Tracker:
    tracker = Tracker(DeduplicationWindow(10, 100))
    tracker.begin(HEAD, [EPOCH])
    return tracker


def test_nothing_is_known_before_the_first_history() -> None:
    """There is no state to ask for, and every answer asks for the history."""
    tracker = Tracker(DeduplicationWindow())

    assert tracker.take(HEAD)
    assert tracker.epoch_text == ""
    with pytest.raises(LookupError):
        tracker.state(0)


def test_an_answer_of_another_epoch_asks_for_the_history() -> None:
    """What another epoch says is not taken over before its history is known."""
    tracker = _tracker()

    assert tracker.take(replace(HEAD, epoch=2, last=make_position(9)))
    assert tracker.last == HEAD.last


def test_an_older_answer_changes_nothing() -> None:
    """Answers on two links may overtake one another: neither the end of the log nor its trim goes back."""
    tracker = _tracker()
    newer = replace(HEAD, last=make_position(2000), trimmed_through=make_position(1000), first=None, events=1)
    tracker.take(newer)

    assert not tracker.take(HEAD)

    state = tracker.state(3000)
    assert (state.history.last, state.history.trimmed_through) == (newer.last, newer.trimmed_through)


def test_a_frame_moves_the_end_of_the_log() -> None:
    """What others appended counts as soon as its frame comes; an old frame counts for nothing."""
    tracker = _tracker()
    tracker.heard(make_position(2000, 1), 2, 30, make_position(2000))
    tracker.heard(make_position(500), 5, 70, make_position(500))

    state = tracker.state(3000)

    assert (state.history.last, state.events, state.size_bytes) == (make_position(2000, 1), 3, 40)
    assert state.first == HEAD.first
    assert tracker.seen_ms == 2000


def test_a_lost_history_goes_back_but_not_the_time_that_was_seen() -> None:
    """After a failover the end of the log may be earlier: positions handed out before are still never used again."""
    tracker = _tracker()
    tracker.heard(make_position(2000), 1, 10, make_position(2000))

    tracker.begin(replace(HEAD, epoch=2), [EPOCH, Epoch(2, HEAD.last)])

    assert tracker.last == HEAD.last
    assert tracker.seen_ms == 2000
    assert tracker.epoch_text == "0000000000000002"


@pytest.mark.parametrize(
    ("cut_ms", "trimmed_ms", "now_ms", "expected"),
    [
        (0, 0, 1_000_000, 10.0),
        (995_000, 0, 1_000_000, 5.0),
        (0, 998_000, 1_000_000, 2.0),
        (2_000_000, 0, 1_000_000, 0.0),
    ],
)
def test_the_window_of_ids(cut_ms: int, trimmed_ms: int, now_ms: int, expected: float) -> None:
    """The window is what was asked for, or reaches back to what its count or retention pushed out; never below zero."""
    tracker = Tracker(DeduplicationWindow(10, 100))
    tracker.begin(replace(HEAD, cut_ms=cut_ms, trimmed_through=make_position(trimmed_ms)), [EPOCH])

    assert tracker.state(now_ms).deduplication_seconds == expected


def test_an_epoch_that_is_over_is_known() -> None:
    """A node that still is in an earlier epoch is behind; one in the current or an unknown one is not."""
    tracker = _tracker()
    tracker.begin(replace(HEAD, epoch=2), [EPOCH, Epoch(2, HEAD.last)])

    assert [tracker.is_past(epoch) for epoch in (1, 2, 3)] == [True, False, False]
