"""Latencies in bounded memory: a log-linear histogram, 32 buckets an octave.

Rule 1: count, minimum, maximum and mean are exact (to the nanosecond); a quantile is off by at most ``QUANTILE_ERROR``.
Rule 2: histograms add up: merging two answers as if all had been recorded in one.
"""

from __future__ import annotations

from math import ceil
from typing import Final

BUCKETS_AN_OCTAVE: Final = 32
"""Buckets between a latency and its double: each is 1/32 of its lower bound wide or narrower."""

QUANTILE_ERROR: Final = 1 / (2 * BUCKETS_AN_OCTAVE)
"""The largest relative error of a quantile: half a bucket, as its middle is answered."""

LATENCY_SECONDS_MAX: Final = 2**50 / 1e9
"""Thirteen days; longer is counted as this. It bounds a histogram to 1,472 buckets, of which traffic fills some 100."""

_NANOSECONDS: Final = 1_000_000_000
_OCTAVE_BITS: Final = BUCKETS_AN_OCTAVE.bit_length()


class LatencyHistogram:
    """Latencies in seconds. Recording takes one dictionary update. Not safe across threads."""

    __slots__ = ("_buckets", "_count", "_max", "_min", "_sum")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._sum = 0
        self._min = 0
        self._max = 0

    def record(self, seconds: float, count: int = 1) -> None:
        """Count a latency ``count`` times (0 or more).

        Below 0 (the clocks of two machines differ) it counts as 0, above ``LATENCY_SECONDS_MAX`` as that.
        """
        if not count:
            return
        nanoseconds = round(min(max(seconds, 0.0), LATENCY_SECONDS_MAX) * _NANOSECONDS)
        bucket = _bucket(nanoseconds)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        if not self._count or nanoseconds < self._min:
            self._min = nanoseconds
        self._max = max(self._max, nanoseconds)
        self._count += count
        self._sum += nanoseconds * count

    def merge(self, other: LatencyHistogram) -> None:
        """Add all that ``other`` recorded; ``other`` stays as it is."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        if other._count:
            self._min = min(self._min, other._min) if self._count else other._min
        self._max = max(self._max, other._max)
        self._count += other._count
        self._sum += other._sum

    @property
    def count(self) -> int:
        """How many latencies."""
        return self._count

    @property
    def total_seconds(self) -> float:
        """Their sum."""
        return self._sum / _NANOSECONDS

    @property
    def min(self) -> float | None:
        """The shortest, or None when empty."""
        return self._min / _NANOSECONDS if self._count else None

    @property
    def max(self) -> float | None:
        """The longest, or None when empty."""
        return self._max / _NANOSECONDS if self._count else None

    @property
    def mean(self) -> float | None:
        """The arithmetic mean, or None when empty."""
        return self._sum / self._count / _NANOSECONDS if self._count else None

    def quantile(self, fraction: float) -> float | None:
        """The latency that ``fraction`` (0 to 1) of all do not exceed, by nearest rank; None when empty.

        Raises ValueError outside 0 to 1: a mistake in the code that asks.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(fraction)
        if not self._count:
            return None
        rank = max(1, ceil(fraction * self._count))
        if rank == self._count:
            return self.max
        below = 0
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below >= rank:
                return min(max(_middle(bucket), self._min), self._max) / _NANOSECONDS
        raise AssertionError(below, rank)


def _bucket(nanoseconds: int) -> int:
    """The number of the bucket: the six leading bits and how many follow; below 64 each value has its own."""
    shift = max(0, nanoseconds.bit_length() - _OCTAVE_BITS)
    return shift * BUCKETS_AN_OCTAVE + (nanoseconds >> shift)


def _middle(bucket: int) -> float:
    """The middle in nanoseconds of what ``_bucket`` maps to this number."""
    shift = max(0, bucket // BUCKETS_AN_OCTAVE - 1)
    lowest = (bucket - shift * BUCKETS_AN_OCTAVE) << shift
    return lowest + ((1 << shift) - 1) / 2
