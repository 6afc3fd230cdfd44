"""The file of a store: one process at a time, a known format, and whole.

The lock is taken on a file of its own beside the store, with flock(2): it goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from importlib import resources
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from waooaw.events.errors import StartupError, StorageCorruptError, StorageFormatError, StorageInUseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

APPLICATION_ID: Final = 0x574F5745
"""``WOWE``: tells our files from other SQLite files (sqlite.org/pragma.html#pragma_application_id)."""

FORMAT: Final = 3
"""Stored as ``user_version``. ``format_<n>.sql`` makes it out of the one before; a release refuses later ones."""

CHECKPOINT_PAGES: Final = 4000
"""Pages of write-ahead log (16 MiB) between two checkpoints: one for some 30,000 events, not for each thousand."""

JOURNAL_BYTES: Final = 64 * 1024 * 1024
"""What the write-ahead log is cut to once it starts anew, after readers had kept it from doing so for a while."""

_CHECK_STEPS: Final = 100_000
"""Virtual machine steps of SQLite between two looks at the time allowed for the integrity check: some milliseconds."""

_WRITER_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit is answered after its fsync
    "PRAGMA fullfsync = ON",  # macOS: fsync alone does not reach the disk there
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit = {JOURNAL_BYTES}",
    "PRAGMA cache_size = -32768",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA busy_timeout = 0",  # the event loop does not wait for another program's lock
)
_READER_SETTINGS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA wal_autocheckpoint = 0",  # only the writer checkpoints
    "PRAGMA trusted_schema = OFF",
)


def prepare_directory(directory: Path) -> None:
    """Make the directory of a store; raises `StartupError` where it cannot hold one."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the data directory {directory} cannot be made: {error.strerror}; choose another by --data-directory"
        raise StartupError(message) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        message = f"the data directory {directory} is not writable; choose another by --data-directory"
        raise StartupError(message)


def lock(path: Path, stack: ExitStack) -> None:
    """Take the store for this process; raises `StorageInUseError` where another one has it."""
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        message = (
            f"the data directory {path.parent} is not writable: {error.strerror}; choose another by --data-directory"
        )
        raise StartupError(message) from None
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        message = (
            f"the store {path} is in use by process {holder}; stop that process, "
            "or give this one a store of its own by --data-directory"
        )
        raise StorageInUseError(message) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def open_reader(path: str) -> sqlite3.Connection:
    """Open a connection that only reads, for one thread."""
    # Read and write, since readers share the index of the write-ahead log; but a store that is gone is not made anew.
    connection = _connect(f"file:{quote(path)}?mode=rw", uri=True)
    try:
        _set(connection, _READER_SETTINGS)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _connect(path: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, uri=uri)


def _set(connection: sqlite3.Connection, settings: tuple[str, ...]) -> None:
    for setting in settings:
        connection.execute(setting).fetchall()


def open_store(path: str) -> sqlite3.Connection:
    """Open the one connection that writes to a store, making the store if it is new.

    The event loop and the commit thread use it in turn, never together. Raises `StorageFormatError` or
    `StorageCorruptError`; a file of another program is left as it is.
    """
    try:
        connection = _connect(path)
    except sqlite3.DatabaseError as error:
        raise unreadable(path, error) from None
    try:
        version = _check_format(path, connection)
        _set(connection, _WRITER_SETTINGS)
        if version < FORMAT:
            _upgrade(connection, version)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise unreadable(path, error) from None
    except StartupError:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file to this release's format in one step; an empty one has format 0."""
    folder = resources.files(__package__)
    steps = (folder.joinpath(f"format_{step}.sql").read_text("utf-8") for step in range(version + 1, FORMAT + 1))
    connection.executescript(
        f"BEGIN; {' '.join(steps)} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
    )


def _check_format(path: str, connection: sqlite3.Connection) -> int:
    """Return the format of a file, 0 of an empty one; raises `StorageFormatError` for one that cannot be read."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        message = f"{path} is an SQLite file of another program; choose another --data-directory"
        raise StorageFormatError(message)
    if not 1 <= version <= FORMAT:
        message = (
            f"the store {path} has format {version}, this release knows formats up to {FORMAT}; "
            "start the release that wrote it, or choose another --data-directory"
        )
        raise StorageFormatError(message)
    return int(version)


def check_integrity(path: str, connection: sqlite3.Connection, *, expired: Callable[[], bool]) -> bool:
    """Check the structure of the whole file; return False where the time allowed ran out first.

    Raises `StorageCorruptError`. Blocks: call it from a thread.
    """
    connection.set_progress_handler(lambda: int(expired()), _CHECK_STEPS)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return False
        raise unreadable(path, error) from None
    except sqlite3.DatabaseError as error:
        raise unreadable(path, error) from None
    finally:
        connection.set_progress_handler(None, 0)
    if verdict != "ok":
        raise _damaged(path, verdict)
    return True


def unreadable(path: str, error: sqlite3.Error) -> StartupError:
    """Return what it means that a store cannot be opened."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return _damaged(path, str(error))
    return StartupError(f"the store {path} cannot be opened: {error}")


def _damaged(path: str, what: str) -> StorageCorruptError:
    message = (
        f"the store {path} is damaged ({what}); restore it from a backup, or move the file away to begin an empty store"
    )
    return StorageCorruptError(message)


def identity(path: Path) -> tuple[int, int]:
    """Return which file a path names now; raises `OSError` where there is none."""
    found = path.stat()
    return found.st_dev, found.st_ino


def free_bytes(path: Path) -> int:
    """Return what the disk of a file has left for this process."""
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize


def reusable_bytes(connection: sqlite3.Connection) -> int:
    """Return what trimming freed inside the file: SQLite writes there before it lets the file grow."""
    (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_bytes)
