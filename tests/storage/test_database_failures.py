"""A database in trouble: a fail-over, a wrong encoding, a file that went away, a weak SQLite."""

from __future__ import annotations

import math
import platform
import sys
import time
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon import errors
from daemon.storage import postgres, schema, sqlite
from daemon.storage.database import STUCK_SECONDS, Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Postgres

READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"


def add(tx: sa.Connection) -> None:
    tx.execute(schema.users.delete())
    row = {"connection": "c", "email": "e", "user_id": "u", "looked_up_at": sa.func.now()}
    tx.execute(schema.users.insert().values(row))


@pytest.fixture
def writable(postgres: Postgres) -> Iterator[Database]:
    opened = Database(postgres.new(), writes=True)
    yield opened
    opened.close()


def test_a_session_that_became_read_only_is_thrown_away_at_its_first_failed_write(writable: Database) -> None:
    writable.write_now(lambda tx: tx.execute(sa.text(READ_ONLY)) and None)
    with pytest.raises(errors.DatabaseError, match="read-only transaction"):
        writable.write_now(add)
    assert writable.failure is not None
    assert "read-only transaction" in writable.failure.error
    writable.write_now(add)
    assert writable.failure is None


@pytest.mark.parametrize("state", sorted(postgres.USELESS))
def test_every_pooled_session_is_replaced_after_an_error_of_a_server_that_gave_up(
    writable: Database, state: str
) -> None:
    pid = sa.text("SELECT pg_backend_pid()")
    with writable._engine.connect() as one, writable._engine.connect() as two:
        before = {one.execute(pid).scalar_one(), two.execute(pid).scalar_one()}

    def fail(tx: sa.Connection) -> None:
        tx.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'going away' USING ERRCODE = '{state}'; END $$")

    with pytest.raises(errors.DatabaseError, match="going away"):
        writable.write_now(fail)
    with writable._engine.connect() as one, writable._engine.connect() as two:
        after = {one.execute(pid).scalar_one(), two.execute(pid).scalar_one()}
    assert not before & after


def test_a_daemon_makes_no_new_session_to_a_server_that_is_read_only_but_readers_do(writable: Database) -> None:
    writable.write_now(
        lambda tx: (
            tx.execute(sa.text(f'ALTER DATABASE "{writable.url.database}" SET default_transaction_read_only = on'))
            and None
        )
    )
    writable._engine.dispose()
    with pytest.raises(errors.DatabaseError, match="session is read-only"):
        writable.read_now(lambda tx: tx.execute(sa.text("SELECT 1")).scalar())
    reader = Database(writable.url.render_as_string(hide_password=False))
    assert reader.read_now(postgres.read_only_reason) == "PostgreSQL is read-only: daemons cannot write"
    reader.close()


def test_a_server_that_takes_writes_has_no_reason_against_it(writable: Database) -> None:
    assert writable.read_now(postgres.read_only_reason) is None


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_store_all_texts_is_refused_with_the_remedy(postgres: Postgres, encoding: str) -> None:
    name = f"encoded_{encoding.lower()}"
    with postgres._admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"))
    database = Database(postgres.url(name))
    with pytest.raises(errors.DatabaseError) as caught:
        database.upgrade()
    database.close()
    assert str(caught.value) == (
        f'the database "{name}" has the encoding {encoding}, which cannot store all texts '
        f"(create one with: createdb --encoding=UTF8 --template=template0 {name}_utf8)"
    )


@pytest.mark.parametrize("change", ["removed", "replaced by another one"])
def test_a_sqlite_file_that_went_away_is_neither_read_nor_written_any_more(tmp_path: Path, change: str) -> None:
    path, other = tmp_path / "x.db", tmp_path / "other.db"
    for file in (path, other):
        database = Database(f"sqlite:///{file}")
        database.upgrade()
        database.close()
    database = Database(f"sqlite:///{path}")
    database.write_now(lambda _tx: None)
    if change == "removed":
        path.unlink()
    else:
        other.replace(path)
    for use in (database.write_now, database.read_now):
        with pytest.raises(
            errors.DatabaseError, match=f"x.db was {change} while it was in use; nothing more is written"
        ):
            use(add)
    database.close()
    assert path.exists() == (change != "removed"), "it is not created again"


def test_a_daemon_that_has_failed_for_five_minutes_is_stuck(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    assert not database.is_stuck(time.monotonic() + 2 * STUCK_SECONDS)
    with pytest.raises(errors.DatabaseError):
        database.write_now(add)
    assert database.failure is not None
    assert not database.is_stuck(database.failure.since + STUCK_SECONDS - 1)
    assert database.is_stuck(database.failure.since + STUCK_SECONDS + 1)
    database.close()


def test_an_error_of_the_caller_is_no_failure_of_the_database(database: Database) -> None:
    def fail(_tx: sa.Connection) -> None:
        raise errors.DatabaseError("the database has no connection")

    with pytest.raises(errors.DatabaseError):
        database.write_now(fail)
    assert database.failure is None


def test_the_sqlite_that_is_used_does_not_lose_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        assert sqlite.driver.__name__ == "pysqlite3.dbapi2"
        assert sqlite.warning() is None
    monkeypatch.setattr(sqlite.driver, "sqlite_version_info", (3, 40, 1))
    monkeypatch.setattr(sqlite.driver, "sqlite_version", "3.40.1")
    assert sqlite.warning() == (
        "SQLite 3.40.1 can lose commits when several connections write; 3.51.3 cannot "
        "(install the package pysqlite3, or use PostgreSQL)"
    )


def test_the_space_on_a_disk_that_cannot_be_read_is_not_a_number(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'pagerelay.db'}")
    size, free = database.disk()
    assert 0 <= free <= size
    folder.rmdir()
    assert all(math.isnan(each) for each in database.disk())
    database.close()
