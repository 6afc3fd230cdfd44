"""Cutting many events into batches that one publish may carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BATCH_EVENTS_MAX: Final = 1000
"""What a service takes at most unless it is told otherwise; more in one batch gets nothing faster."""

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Half of what a service reads as one body unless it is told otherwise."""


def cut_batches(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Return the texts in order, in lists within both limits; a text over the limit of bytes is a batch alone."""
    batch: list[bytes] = []
    size_bytes = 0
    for text in texts:
        if batch and (len(batch) >= BATCH_EVENTS_MAX or size_bytes + len(text) + 1 > BATCH_BYTES_MAX):
            yield batch
            batch, size_bytes = [], 0
        batch.append(text)
        size_bytes += len(text) + 1
    if batch:
        yield batch
