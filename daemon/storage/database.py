"""The database itself: threads, transactions, migrations, the lock on a SQLite file.

The other modules of this package are plain functions on an open SQLAlchemy connection, to be passed to
``Database.write`` or ``Database.read``. Every call is one transaction in a thread of the pool, so the event loop never
waits for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, TypeVar

import sqlalchemy as sa

from daemon import errors
from daemon.storage import postgres, sqlite
from daemon.storage.sqlite import FileChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")
Clock: TypeAlias = "Callable[[], datetime]"

HEAD = "0013"
READERS = 2
STUCK_SECONDS = 300.0
POSTGRES_WRITERS = 4


def system_clock() -> datetime:
    """Return this machine's time in UTC, aware."""
    return datetime.now(UTC)


def _ignore(_revision: str) -> None:
    """Do nothing."""


def migrations_path() -> Path:
    """Return the folder of the migrations: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parents[1] / "_migrations"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "migrations"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of the database: the monotonic time of the first failed transaction, and its error."""

    since: float
    error: str


class Database:
    """An open database. ``url`` is an SQLAlchemy URL (``sqlite:///file`` or ``postgresql://…``).

    SQLite has one writing thread. With PostgreSQL all replicas use the database's clock, except in tests, which pass
    ``clock``. ``writes`` rejects connections to a PostgreSQL server that is read-only, as after a fail-over.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, writes: bool = False) -> None:
        self.url = engine_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock
        self.clock = clock or system_clock  # of this process, where the database's own is not needed
        self._lock_file: int | None = None
        self._file = sqlite.DatabaseFile(self.url.database if self.is_sqlite else None)
        self._failure: Failure | None = None
        writers = 1 if self.is_sqlite else POSTGRES_WRITERS
        if self.is_sqlite:
            self._engine = sqlite.create_engine(self.url, READERS + 2)
        else:
            self._engine = postgres.create_engine(self.url, writers + READERS, writes=writes)
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="database-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-read")

    async def write(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function(tx, *args)`` in one writing transaction; commit, or roll back if it raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writers, lambda: self.write_now(function, *args, **kwargs))

    async def read(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function(tx, *args)`` in one reading transaction."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: self.read_now(function, *args, **kwargs))

    def write_now(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same as ``write`` in the calling thread, for code outside an event loop."""
        with self._transaction("BEGIN IMMEDIATE") as tx:
            result = function(tx, *args, **kwargs)
            tx.commit()
        self._failure = None
        return result

    def read_now(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same as ``read`` in the calling thread."""
        with self._transaction("BEGIN") as tx:
            return function(tx, *args, **kwargs)

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        """Open a transaction. Raise every error of the driver as DatabaseError, and remember the failure."""
        try:
            self._file.check()
            with self._engine.connect() as tx:
                if self.is_sqlite:
                    tx.exec_driver_sql(begin)
                yield tx
        except sa.exc.DBAPIError as error:
            raise self._failed(_explain(error), _kind(error)) from error
        except sa.exc.TimeoutError as error:
            message = "database: no session became free (check whether the server is overloaded or unreachable)"
            raise self._failed(message) from error
        except FileChangedError as error:
            raise self._failed(str(error)) from error

    def _failed(self, message: str, kind: type[errors.DatabaseError] = errors.DatabaseError) -> errors.DatabaseError:
        if self._failure is None:
            self._failure = Failure(time.monotonic(), message)
        return kind(message)

    @property
    def failure(self) -> Failure | None:
        """Return since when the database has been failing; None after a committed transaction."""
        return self._failure

    def disk(self) -> tuple[float, float]:
        """Return the size of a SQLite file's disk and the free space on it in bytes; NaN for what cannot be read."""
        return self._file.disk()

    def is_stuck(self, at: float) -> bool:
        """Return whether the database has been failing for so long that a restart may help (``at`` is monotonic)."""
        return self._failure is not None and at - self._failure.since > STUCK_SECONDS

    def now(self, tx: sa.Connection) -> datetime:
        """Return the time in UTC that all replicas share."""
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return system_clock()
        moment: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)

    def lock(self) -> None:
        """Lock a SQLite file until ``close``; does nothing for PostgreSQL.

        Raises DatabaseInUse if another daemon uses the file, and DatabaseUnsuitable without the right to write it.
        """
        if not self.is_sqlite or self.url.database in (None, "", ":memory:"):
            return
        path = f"{self.url.database}.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"cannot write {path}: {error.strerror} (give the daemon a directory that it may write to)"
            # A missing directory may be a disk that is not mounted yet.
            kind = errors.DatabaseUnsuitable if isinstance(error, PermissionError) else errors.DatabaseError
            raise kind(message) from error
        file = Path(self.url.database)
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            os.close(handle)
            message = f"cannot write {file}: it belongs to another user (run: chown {os.geteuid()} {file})"
            raise errors.DatabaseUnsuitable(message)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            message = (
                f"{self.url.database} is in use by another pagerelay daemon "
                "(stop it first, or use PostgreSQL to run several replicas)"
            )
            raise errors.DatabaseInUse(message) from error
        self._lock_file = handle

    def close(self) -> None:
        """End the threads, and close the connections and the lock."""
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._engine.dispose()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def version(self) -> str | None:
        """Return the schema's revision, or None for an empty database."""

        def look(tx: sa.Connection) -> str | None:
            if not sa.inspect(tx).has_table("alembic_version"):
                return None
            revision: str | None = tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
            return revision

        return self.read_now(look)

    def upgrade(self, report: Callable[[str], None] = _ignore) -> str:
        """Create or upgrade the schema to ``HEAD``; return the revision. Call ``report`` with each revision on the way.

        Raises SchemaTooNew for a schema of a later version. Replicas may call it at the same time: one upgrades, the
        others wait.
        """
        revision = self.version()
        if revision == HEAD:
            return HEAD
        if revision is not None and revision > HEAD:
            raise errors.SchemaTooNew(
                f"the database has schema {revision}, this version of pagerelay knows up to {HEAD} "
                "(install the version that wrote it, or a newer one)"
            )
        try:
            self.write_now(_migrate if self.is_sqlite else _migrate_alone, report)
        except errors.PermissionDenied as error:
            present, reason = f"schema {revision}" if revision else "no schema", str(error).removeprefix("database: ")
            raise errors.PermissionDenied(
                f"the database has {present}, and its role may not upgrade it to {HEAD}: {reason} "
                "(run pagerelay db upgrade as the role that owns the tables)"
            ) from error
        return HEAD

    def check(self) -> None:
        """Raise DatabaseError unless the schema is that of this version."""
        revision = self.version()
        if revision is None:
            raise errors.DatabaseError(
                "the database has no tables yet (start the daemon, or run: pagerelay db upgrade)"
            )
        if revision > HEAD:
            self.upgrade()
        if revision < HEAD:
            raise errors.DatabaseError(f"the database has the old schema {revision} (run: pagerelay db upgrade)")


def engine_url(url: str) -> sa.URL:
    """Return the URL with the driver that pagerelay depends on."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _migrate(tx: sa.Connection, report: Callable[[str], None]) -> None:
    from alembic import command, config  # noqa: PLC0415 - 1.8 s of imports that only an upgrade should pay for

    settings = config.Config()
    settings.set_main_option("script_location", str(migrations_path()))
    settings.attributes["connection"] = tx
    settings.attributes["report"] = report
    command.upgrade(settings, "head")


def _migrate_alone(tx: sa.Connection, report: Callable[[str], None]) -> None:
    tx.execute(sa.text("SELECT pg_advisory_xact_lock(7243091142)"))
    _migrate(tx, report)


def _kind(error: sa.exc.DBAPIError) -> type[errors.DatabaseError]:
    """Return the class of the error to raise."""
    if postgres.is_permission_denied(error):
        return errors.PermissionDenied
    return errors.DatabaseUnsuitable if sqlite.is_no_database(error.orig) else errors.DatabaseError


def _explain(error: sa.exc.DBAPIError) -> str:
    """Return the driver's message without the statement and its parameters."""
    text = str(error.orig).strip().splitlines()
    return f"database: {text[0] if text else type(error.orig).__name__}"
