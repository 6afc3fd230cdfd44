"""The judge of retries finds what it has to find."""

from __future__ import annotations

from tests.fault.webhooks.retry_judge import SLACK_SECONDS, Judgement, Pause, judge
from tests.webhooks.receiver_process import Line
from waooaw.events import RetryPolicy

POLICY = RetryPolicy(first_seconds=1.0, cap_seconds=4.0)


def judged(*tries: tuple[float, int], pauses: tuple[Pause, ...] = ()) -> Judgement:
    """Judge the tries of one event, published at 0: when each began, and its answer."""
    lines = [Line("incarnation.p", began, began, status, 1) for began, status in tries]
    return judge(lines, {"p": 0.0}, POLICY, pauses)


def test_what_is_right() -> None:
    """Waits of the policy, also none, are right; a taken event may come again out of a pause."""
    found = judged((0, 503), (1, 503), (1, 503), (5, 204))
    assert (found.wrong, found.retries, found.first_waits) == ([[], [], [], []], 3, [1])
    assert judged((1, 204), (8, 204), pauses=(Pause(1, 7),)).wrong == [[], [], [], []]


def test_what_was_lost_or_never_published() -> None:
    """An event that only failed is lost; a message of no event is strange."""
    assert judged((0, 503)).lost == ["p"]
    found = judge([Line("incarnation.other", 0, 0, 204, 1)], {}, POLICY, ())
    assert found.strange == ["other"]


def test_what_came_without_need() -> None:
    """An event that was taken comes again for a reason only."""
    assert len(judged((0, 204), (1, 204)).needless) == 1
    assert len(judged((0, 204), (1, 204), pauses=(Pause(2, 3),)).needless) == 1


def test_what_came_late() -> None:
    """Each wait has its bound, out of a pause the longest; a pause is excused as far as it lasted."""
    late = 0.01 + SLACK_SECONDS
    assert len(judged((0, 503), (1 + late, 204)).late) == 1
    assert len(judged((0, 503), (1, 503), (3 + late, 204)).late) == 1
    assert len(judged((0, 503), (1 + late, 204), pauses=(Pause(0, 1),)).late) == 0
    assert len(judged((0, 503), (5 + late, 204), pauses=(Pause(0, 1),)).late) == 1
