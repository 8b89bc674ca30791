"""SQLite: the engine, a driver with a version without known faults, and the check of the database file."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

try:
    from pysqlite3 import dbapi2
except ImportError:  # no wheel for this platform
    import sqlite3 as dbapi2

BUSY_SECONDS = 30.0
SOUND = (3, 51, 3)  # versions before can lose commits in WAL mode: sqlite.org/wal.html, "The WAL-Reset Bug"
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "journal_size_limit=67108864",
    "cache_size=-16000",
)
driver = dbapi2
_creating = threading.Lock()


def warning() -> str | None:
    """Return what is wrong with the SQLite that this process uses, or None."""
    if driver.sqlite_version_info >= SOUND:
        return None
    sound = ".".join(map(str, SOUND))
    return (
        f"SQLite {driver.sqlite_version} can lose commits when several connections write; {sound} cannot "
        "(install the package pysqlite3, or use PostgreSQL)"
    )


def create_engine(url: sa.URL, pool_size: int) -> sa.Engine:
    """Return an engine whose transactions begin explicitly, with BEGIN IMMEDIATE."""
    engine = sa.create_engine(
        url,
        module=driver,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        poolclass=sa.pool.QueuePool,
        pool_size=pool_size,
    )

    @sa.event.listens_for(engine, "do_connect")
    def create(*_event: object) -> None:
        _create_private(url.database or ":memory:")

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own object
        connection.isolation_level = None
        for pragma in PRAGMAS:
            _pragma(connection, pragma)

    return engine


def is_no_database(error: object) -> bool:
    """Return whether an error of the driver says that the file is not a SQLite database."""
    return isinstance(error, driver.DatabaseError) and "file is not a database" in str(error)


class FileChangedError(Exception):
    """The file of an open database was removed or replaced."""


class DatabaseFile:
    """The file of an open database. Writes to a file that was removed would be lost."""

    def __init__(self, path: str | None) -> None:
        self._path = None if path in (None, "", ":memory:") else path
        self._identity: tuple[int, int] | None = None

    def check(self) -> None:
        """Remember the file at the first call. Raises FileChangedError if it was removed or replaced since."""
        if self._path is None:
            return
        try:
            status = os.stat(self._path)  # noqa: PTH116 - at every transaction: a Path costs ten times as much
        except OSError:
            if self._identity is not None:
                raise self._changed("removed") from None
            return
        identity = (status.st_dev, status.st_ino)
        if self._identity is None:
            self._identity = identity
        elif self._identity != identity:
            raise self._changed("replaced by another one")

    def disk(self) -> tuple[float, float]:
        """Return the size of the file's disk and the free space on it in bytes; NaN for what cannot be read."""
        try:
            usage = shutil.disk_usage(Path(self._path or os.devnull).parent)
        except OSError:
            return math.nan, math.nan
        return usage.total, usage.free

    def _changed(self, how: str) -> FileChangedError:
        return FileChangedError(
            f"database: the file {self._path} was {how} while it was in use; nothing more is written "
            "(put the right file back and restart the daemon)"
        )


def _create_private(path: str) -> None:
    """Create a new database file that only its owner can read; ``-wal`` and ``-shm`` get the same mode.

    Closing a file releases the locks that this process holds on it. So an existing file is never opened here, and a new
    one is closed before anybody connects to it.
    """
    if path == ":memory:":
        return
    with _creating, contextlib.suppress(OSError):  # the file exists, or SQLite will report the error
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _pragma(connection: Any, pragma: str) -> None:  # noqa: ANN401 - the driver's own object
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}").close()
        except driver.OperationalError as error:
            # SQLite itself does not wait when two processes switch a new file to WAL at the same time.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
