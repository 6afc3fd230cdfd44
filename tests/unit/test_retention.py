"""What retention removes: all that a limit demands and nothing more."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.errors import InvalidSettingError
from waooaw.events.position import make_position
from waooaw.events.retention import LogSize, RetentionLimits, TrimPlan, cut, plan_trim

NOW_MS = 1_764_019_200_000


def size_of(rows: list[tuple[int, int]]) -> LogSize:
    return LogSize(
        first=rows[0][0] if rows else None,
        last=rows[-1][0] if rows else 0,
        events=len(rows),
        size_bytes=sum(size for _, size in rows),
    )


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Rows of a log whose events lie at most a minute before ``NOW_MS``, or a little after it."""
    times = sorted(draw(st.lists(st.integers(NOW_MS - 60_000, NOW_MS + 500), max_size=30)))
    return [
        (make_position(time, index), draw(st.integers(1, 1_000), label="bytes")) for index, time in enumerate(times)
    ]


LIMITS = st.builds(
    RetentionLimits,
    max_age_seconds=st.none() | st.integers(1, 70),
    max_events=st.none() | st.integers(1, 35),
    max_bytes=st.none() | st.integers(1, 20_000),
)


def within(limits: RetentionLimits, rows: list[tuple[int, int]]) -> bool:
    size = size_of(rows)
    return (
        (limits.max_events is None or size.events <= limits.max_events)
        and (limits.max_bytes is None or size.size_bytes <= limits.max_bytes)
        and (
            limits.max_age_seconds is None
            or all(position >> 20 >= NOW_MS - limits.max_age_seconds * 1_000 for position, _ in rows)
        )
    )


@given(limits=LIMITS, rows=logs())
def test_exactly_enough_goes(limits: RetentionLimits, rows: list[tuple[int, int]]) -> None:
    """What remains is within every limit, and with one event more it would not be."""
    gone = cut(plan_trim(limits, size_of(rows), NOW_MS), rows)
    assert within(limits, rows[gone:])
    assert gone == 0 or not within(limits, rows[gone - 1 :])


@given(limits=LIMITS, rows=logs())
def test_a_plan_is_needed_when_something_goes(limits: RetentionLimits, rows: list[tuple[int, int]]) -> None:
    """A plan says that it is needed exactly when it removes something."""
    plan = plan_trim(limits, size_of(rows), NOW_MS)
    assert plan.needed == (cut(plan, rows) > 0)


@given(limits=LIMITS, rows=logs(), step=st.integers(1, 7))
def test_steps_remove_what_one_cut_does(limits: RetentionLimits, rows: list[tuple[int, int]], step: int) -> None:
    """Trimming in steps, planned anew each time, ends where one cut would."""
    expected = rows[cut(plan_trim(limits, size_of(rows), NOW_MS), rows) :]
    for _ in range(len(rows) + 1):
        plan = plan_trim(limits, size_of(rows), NOW_MS)
        if not plan.needed:
            break
        rows = rows[cut(plan, rows[:step]) :]
    assert expected == rows


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (TrimPlan(), 0),
        (TrimPlan(before_ms=NOW_MS), 0),
        (TrimPlan(before_ms=NOW_MS + 1), 1),
        (TrimPlan(excess_events=2), 2),
        (TrimPlan(excess_bytes=1), 1),
        (TrimPlan(excess_bytes=10), 1),
        (TrimPlan(excess_bytes=11), 2),
        (TrimPlan(before_ms=NOW_MS + 1, excess_events=2, excess_bytes=21), 3),
        (TrimPlan(excess_events=99), 4),
    ],
)
def test_the_table_of_cuts(plan: TrimPlan, expected: int) -> None:
    """The limit that demands the most decides; the boundary of an age stays; there are no more than all."""
    rows = [(make_position(NOW_MS + index), 10) for index in range(4)]
    assert expected == cut(plan, rows)


def test_an_empty_log_needs_no_trim() -> None:
    """Where nothing is, nothing goes, whatever the limits."""
    limits = RetentionLimits(max_age_seconds=1, max_events=1, max_bytes=1)
    assert not plan_trim(limits, LogSize(first=None, last=5, events=0, size_bytes=0), NOW_MS).needed


def test_what_is_as_old_as_the_limit_stays() -> None:
    """An event exactly as old as the limit needs no trim; a millisecond later it does."""
    limits = RetentionLimits(max_age_seconds=60)
    size = size_of([(make_position(NOW_MS, 7), 10)])
    assert not plan_trim(limits, size, NOW_MS + 60_000).needed
    assert plan_trim(limits, size, NOW_MS + 60_001) == TrimPlan(before_ms=NOW_MS + 1)


@pytest.mark.parametrize("name", ["max_age_seconds", "max_events", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1])
def test_limits_below_one_are_refused(name: str, value: int) -> None:
    """A limit under which every event would go as it comes is a mistake, and the error names it."""
    with pytest.raises(InvalidSettingError, match=name):
        RetentionLimits(**{name: value})


@given(rows=logs(), excess=st.integers(1, 40_000))
def test_bytes_free_at_least_the_excess(rows: list[tuple[int, int]], excess: int) -> None:
    """The shortest run of old events that frees the excess goes, or all when none does."""
    freed = [0, *accumulate(size for _, size in rows)]
    expected = next((count for count, size in enumerate(freed) if size >= excess), len(rows))
    assert expected == cut(TrimPlan(excess_bytes=excess), rows)


@given(limits=LIMITS, rows=logs(), needed=st.integers(0, 31))
def test_what_is_needed_stays_but_for_the_bytes(
    limits: RetentionLimits, rows: list[tuple[int, int]], needed: int
) -> None:
    """Age and count end before what is needed; the bytes alone take as many as without it."""
    plan = plan_trim(limits, size_of(rows), NOW_MS)
    needed_from = rows[needed][0] if needed < len(rows) else None

    gone = cut(replace(plan, needed_from=needed_from), rows)

    for_bytes = cut(TrimPlan(excess_bytes=plan.excess_bytes), rows)
    assert gone == max(for_bytes, min(cut(plan, rows), len(rows) if needed_from is None else needed))
