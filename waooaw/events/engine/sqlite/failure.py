"""What SQLite and the disk say, as our errors."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from waooaw.events.outages import StorageFailedError, StorageFullError, UnavailableError

if TYPE_CHECKING:
    from waooaw.events.errors import WowEventError

_PRIMARY_CODE = 0xFF
"""SQLite's extended result codes keep the primary code in the low byte (sqlite.org/rescode.html)."""


def storage_full(detail: str) -> StorageFullError:
    """Return the error that a publish gets while the disk is nearly full."""
    return StorageFullError(f"{detail}; free space, or lower the retention; reading goes on", retry_after_seconds=5)


def store_gone(location: str) -> StorageFailedError:
    """Return the error that a publish gets while the file is not where it was: what is written now would be lost."""
    return StorageFailedError(
        f"the store {location} was removed or replaced while in use; stop the service, put the file back, start anew",
        retry_after_seconds=10,
    )


def write_failure(error: sqlite3.Error) -> UnavailableError:
    """Return what a failed write means.

    After a failed write to the disk nothing says what reached it (fsync is not repeated: the kernel may have dropped
    the pages it could not write), so its outcome is unknown.
    """
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code == sqlite3.SQLITE_FULL:
        return storage_full("the disk is full")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:  # met where a transaction begins: nothing was written
        return UnavailableError("another program is writing to the store; let no other program open it")
    return StorageFailedError(
        f"the store could not be written ({error}); check the disk, then start the service anew",
        outcome="unknown",
        retry_after_seconds=10,
    )


def read_failure(error: sqlite3.Error) -> WowEventError:
    """Return what a failed read means."""
    return StorageFailedError(f"the store could not be read ({error}); check the disk", retry_after_seconds=10)
