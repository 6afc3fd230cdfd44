"""The latency histogram: exact where it says so, and within its error elsewhere."""

from __future__ import annotations

from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.histogram import LATENCY_SECONDS_MAX, QUANTILE_ERROR, LatencyHistogram

SECONDS = st.floats(0, 1e6) | st.floats(0, 1e-3) | st.integers(0, 200).map(lambda nanoseconds: nanoseconds / 1e9)
FRACTIONS = (0.0, 0.01, 0.25, 0.5, 0.95, 0.99, 1.0)


def histogram_of(latencies: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for seconds in latencies:
        histogram.record(seconds)
    return histogram


def answers(histogram: LatencyHistogram) -> list[float | None]:
    exact = [histogram.count, histogram.total_seconds, histogram.min, histogram.max, histogram.mean]
    return [*exact, *(histogram.quantile(fraction) for fraction in FRACTIONS)]


def test_empty_it_knows_nothing() -> None:
    """Without a latency there is no minimum, maximum, mean or quantile: None, never 0."""
    assert [0, 0.0, None, None, None, *[None] * len(FRACTIONS)] == answers(LatencyHistogram())


@given(st.lists(SECONDS, min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_are_within_the_error(latencies: list[float], fraction: float) -> None:
    """A quantile differs from the exact one (nearest rank) by no more than the error promised, and a nanosecond."""
    exact = sorted(latencies)[max(1, ceil(fraction * len(latencies))) - 1]
    answered = histogram_of(latencies).quantile(fraction)
    assert answered is not None
    assert abs(answered - exact) <= QUANTILE_ERROR * exact + 1e-9


def test_the_error_holds_for_every_bucket() -> None:
    """Over ten octaves, 400 latencies in each, no quantile is off by more than the error promised."""
    latencies = [1e-5 * 2 ** (step / 400) for step in range(4_001)]
    histogram = histogram_of(latencies)
    for rank, exact in enumerate(latencies, 1):
        assert histogram.quantile(rank / len(latencies)) == pytest.approx(exact, rel=QUANTILE_ERROR, abs=1e-9)


@given(st.lists(SECONDS, min_size=1, max_size=100))
def test_the_rest_is_exact(latencies: list[float]) -> None:
    """Count, minimum, maximum, sum and mean are exact to the nanosecond that a latency is rounded to."""
    histogram = histogram_of(latencies)
    assert len(latencies) == histogram.count
    assert min(latencies) == pytest.approx(histogram.min, rel=1e-12, abs=1e-9)
    assert max(latencies) == pytest.approx(histogram.max, rel=1e-12, abs=1e-9)
    assert sum(latencies) / len(latencies) == pytest.approx(histogram.mean, rel=1e-9, abs=1e-9)
    assert sum(latencies) == pytest.approx(histogram.total_seconds, rel=1e-9, abs=1e-9 * len(latencies))
    assert histogram.max == histogram.quantile(1.0)


@given(st.lists(SECONDS, max_size=50), st.lists(SECONDS, max_size=50))
def test_merging_is_recording_in_one(first: list[float], second: list[float]) -> None:
    """Two histograms merged answer as one that recorded both, and the one merged stays as it was."""
    whole, other = histogram_of(first), histogram_of(second)
    whole.merge(other)
    assert answers(histogram_of(first + second)) == answers(whole)
    assert answers(histogram_of(second)) == answers(other)


@given(st.lists(st.tuples(SECONDS, st.integers(0, 5)), max_size=50))
def test_a_count_is_recording_as_often(batches: list[tuple[float, int]]) -> None:
    """A latency recorded with a count answers as one recorded as many times, none at all included."""
    counted = LatencyHistogram()
    for seconds, count in batches:
        counted.record(seconds, count)
    assert answers(histogram_of([seconds for seconds, count in batches for _ in range(count)])) == answers(counted)


def test_merging_with_itself_doubles() -> None:
    """A histogram merged with itself counts everything twice."""
    histogram = histogram_of([0.001, 0.002])
    histogram.merge(histogram)
    assert answers(histogram_of([0.001, 0.002] * 2)) == answers(histogram)


@given(st.lists(SECONDS, min_size=1, max_size=100))
def test_quantiles_rise_between_the_extremes(latencies: list[float]) -> None:
    """A higher fraction never has a lower quantile, and none lies outside minimum and maximum."""
    histogram = histogram_of(latencies)
    found = [quantile for fraction in FRACTIONS if (quantile := histogram.quantile(fraction)) is not None]
    assert len(FRACTIONS) == len(found)
    assert sorted(found) == found
    assert histogram.min is not None
    assert histogram.max is not None
    assert histogram.min <= found[0]
    assert found[-1] <= histogram.max


@pytest.mark.parametrize(
    ("seconds", "counted"), [(-0.5, 0.0), (inf, LATENCY_SECONDS_MAX), (2 * LATENCY_SECONDS_MAX, LATENCY_SECONDS_MAX)]
)
def test_what_no_latency_can_be_is_counted_at_the_edge(seconds: float, counted: float) -> None:
    """A negative latency counts as none, one beyond the ceiling as the ceiling."""
    histogram = histogram_of([seconds])
    assert [1, counted, counted] == [histogram.count, histogram.min, histogram.max]


def test_memory_is_bounded() -> None:
    """However many different latencies come, no more than 1,473 numbers are kept."""
    histogram = LatencyHistogram()
    for octave in range(51):
        for part in range(200):
            histogram.record(2**octave * (1 + part / 200) / 1e9)
    kept = histogram._buckets  # noqa: SLF001 - memory is what is measured
    assert 1_000 < len(kept) <= 1_473


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_is_between_0_and_1(fraction: float) -> None:
    """A quantile outside 0 to 1 is a mistake in the caller."""
    with pytest.raises(ValueError, match=str(fraction)):
        LatencyHistogram().quantile(fraction)
