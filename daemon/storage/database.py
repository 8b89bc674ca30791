"""The database itself: engine, threads, transactions, migrations, the lock on a SQLite file.

What is stored is ``store`` and ``queue``'s business: they are plain functions that take
an open SQLAlchemy connection and are handed to ``Database.write`` or ``Database.read``.
Every call is one transaction in a thread of the pool; the event loop never waits on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import sqlalchemy as sa

from daemon import errors

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
Clock: TypeAlias = "Callable[[], datetime]"

HEAD = "0005"
READERS = 2
POSTGRES_WRITERS = 4
SQLITE_BUSY_SECONDS = 30.0
_creating = threading.Lock()


def system_clock() -> datetime:
    """The time of this machine, aware, in UTC."""
    return datetime.now(UTC)


def migrations_path() -> Path:
    """Where the migrations lie: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parents[1] / "_migrations"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "migrations"


class Database:
    """One database, open. ``url`` is an SQLAlchemy URL (``sqlite:///file`` or ``postgresql://…``).

    On SQLite there is one writing thread; on PostgreSQL the database's own clock is the
    clock of all replicas, unless ``clock`` is given (tests).
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self.url = engine_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock
        self._lock_file: int | None = None
        self._engine = _sqlite_engine(self.url) if self.is_sqlite else _postgres_engine(self.url)
        writers = 1 if self.is_sqlite else POSTGRES_WRITERS
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
        """As ``write``, in the calling thread: for commands that are not in an event loop."""
        try:
            with self._engine.connect() as tx:
                if self.is_sqlite:
                    tx.exec_driver_sql("BEGIN IMMEDIATE")
                result = function(tx, *args, **kwargs)
                tx.commit()
                return result
        except sa.exc.DBAPIError as error:
            raise errors.DatabaseError(_explain(error)) from error

    def read_now(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``read``, in the calling thread."""
        try:
            with self._engine.connect() as tx:
                if self.is_sqlite:
                    tx.exec_driver_sql("BEGIN")
                return function(tx, *args, **kwargs)
        except sa.exc.DBAPIError as error:
            raise errors.DatabaseError(_explain(error)) from error

    def now(self, tx: sa.Connection) -> datetime:
        """The time by which everything that replicas share is decided, in UTC."""
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return system_clock()
        moment: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)

    def lock(self) -> None:
        """Refuse to go on if another daemon works on the same SQLite file; kept until ``close``.

        Raises DatabaseInUse. PostgreSQL is made for several replicas: nothing happens there.
        """
        if not self.is_sqlite or self.url.database in (None, "", ":memory:"):
            return
        path = f"{self.url.database}.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"cannot write {path}: {error.strerror} (give the daemon a directory that it may write to)"
            raise errors.DatabaseError(message) from error
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
        """End the threads and give the connections and the lock back."""
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._engine.dispose()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def version(self) -> str | None:
        """The schema's revision, None for an empty database."""

        def look(tx: sa.Connection) -> str | None:
            if not sa.inspect(tx).has_table("alembic_version"):
                return None
            revision: str | None = tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
            return revision

        return self.read_now(look)

    def upgrade(self) -> str:
        """Bring the schema to ``HEAD``, creating it if there is none; answers the revision.

        Raises SchemaTooNew if the schema is one that this version does not know.
        Several replicas may call it at once: the first one works, the others wait.
        """
        found = self.version()
        if found == HEAD:
            return HEAD
        if found is not None and found > HEAD:
            raise errors.SchemaTooNew(
                f"the database has schema {found}, this version of pagerelay knows up to {HEAD} "
                "(install the version that wrote it, or a newer one)"
            )
        if self.is_sqlite:
            self.write_now(_migrate)
        else:
            self.write_now(_migrate_alone)
        return HEAD

    def check(self) -> None:
        """Raise DatabaseError unless the schema is the one that this version works with."""
        found = self.version()
        if found is None:
            raise errors.DatabaseError(
                "the database has no tables yet (start the daemon, or run: pagerelay db upgrade)"
            )
        if found > HEAD:
            self.upgrade()
        if found < HEAD:
            raise errors.DatabaseError(f"the database has the old schema {found} (run: pagerelay db upgrade)")


def engine_url(url: str) -> sa.URL:
    """The URL with the driver that pagerelay carries."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _migrate(tx: sa.Connection) -> None:
    from alembic import command, config  # noqa: PLC0415 - 1.8 s of imports that only an upgrade should pay for

    settings = config.Config()
    settings.set_main_option("script_location", str(migrations_path()))
    settings.attributes["connection"] = tx
    command.upgrade(settings, "head")


def _migrate_alone(tx: sa.Connection) -> None:
    tx.execute(sa.text("SELECT pg_advisory_xact_lock(7243091142)"))
    _migrate(tx)


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
        poolclass=sa.pool.QueuePool,
        pool_size=READERS + 2,
    )

    @sa.event.listens_for(engine, "do_connect")
    def create(*_event: object) -> None:
        _create_private(url.database or ":memory:")

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own object
        connection.isolation_level = None  # transactions are begun by hand, with BEGIN IMMEDIATE
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "journal_size_limit=67108864",
            "cache_size=-16000",
        ):
            _pragma(connection, pragma)

    return engine


def _create_private(path: str) -> None:
    """A new file for its owner alone: it holds incidents and what targets answered. ``-wal`` and ``-shm`` follow it.

    Closing a file ends the locks that this process holds on it. So one that exists is never
    opened here, and nobody connects to a new one before it is closed.
    """
    if path == ":memory:":
        return
    with _creating, contextlib.suppress(OSError):  # it exists, or SQLite says in its own words why it cannot
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _pragma(connection: Any, pragma: str) -> None:  # noqa: ANN401 - the driver's own object
    deadline = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}").close()
        except Exception as error:
            # Two processes that switch a new file to WAL at once: SQLite does not wait here by itself.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _postgres_engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url,
        connect_args={"prepare_threshold": None, "connect_timeout": 10, "application_name": "pagerelay"},
        pool_size=POSTGRES_WRITERS + READERS,
        max_overflow=2,
        pool_pre_ping=True,
    )


def _explain(error: sa.exc.DBAPIError) -> str:
    """The driver's own words, without the statement and its parameters."""
    text = str(error.orig).strip().splitlines()
    return f"database: {text[0] if text else type(error.orig).__name__}"
