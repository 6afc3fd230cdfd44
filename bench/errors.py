"""What ends a measurement early."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement that cannot be trusted or taken: its message says what was seen.

    Raised rather than counted: a figure from a run with refused requests or lost events would mean nothing.
    """
