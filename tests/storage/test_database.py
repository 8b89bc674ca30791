"""The database: one writer at a time, nothing half committed, one daemon per SQLite file, which is private."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon import errors
from daemon.storage import schema, sql
from daemon.storage.database import Database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ManualClock


def _increment(tx: sa.Connection) -> None:
    table = schema.triggers
    watermark = tx.execute(sa.select(table.c.watermark).where(table.c.name == "t").with_for_update()).scalar_one()
    tx.execute(table.update().where(table.c.name == "t").values(watermark=watermark + 1))


async def test_concurrent_read_then_write_transactions_lose_no_update(database: Database, clock: ManualClock) -> None:
    row = {"name": "t", "connection": "c", "watermark": 0, "next_poll_at": clock.now}
    await database.write(lambda tx: tx.execute(schema.triggers.insert(), row) and None)
    second = Database(database.url.render_as_string(hide_password=False), clock=clock)
    await asyncio.gather(
        *(database.write(_increment) for _ in range(50)), *(second.write(_increment) for _ in range(50))
    )
    second.close()
    assert await database.read(lambda tx: tx.execute(sa.select(schema.triggers.c.watermark)).scalar_one()) == 100


async def test_a_failing_transaction_leaves_nothing_behind(database: Database, clock: ManualClock) -> None:
    def fail(tx: sa.Connection) -> None:
        tx.execute(
            schema.triggers.insert(), {"name": "t", "connection": "c", "watermark": 0, "next_poll_at": clock.now}
        )
        raise errors.UsageError("half way")

    with pytest.raises(errors.UsageError):
        await database.write(fail)
    assert database.read_now(lambda tx: tx.execute(sa.select(schema.triggers)).all()) == []


async def test_times_are_stored_exactly(database: Database, clock: ManualClock) -> None:
    moment = clock.advance(0.123457)
    database.write_now(
        lambda tx: (
            tx.execute(
                schema.triggers.insert(), {"name": "t", "connection": "c", "watermark": 0, "next_poll_at": moment}
            )
            and None
        )
    )
    assert database.read_now(lambda tx: tx.execute(sa.select(schema.triggers.c.next_poll_at)).scalar_one()) == moment


def test_rows_are_inserted_or_replaced_by_their_key_whatever_kind_of_text_names_their_columns(
    database: Database, clock: ManualClock
) -> None:
    name, email = sa.sql.quoted_name("connection", None), sa.sql.quoted_name("email", None)
    at = {"looked_up_at": clock.now}
    for users in ({"a": "P1", "b": "P2"}, {"b": "P3", "c": "P4"}):
        rows = [{name: "acme", email: each, "user_id": user} | at for each, user in users.items()]
        database.write_now(sql.upsert, schema.users, rows)
    database.write_now(sql.upsert, schema.users, [])
    stored = database.read_now(lambda tx: tx.execute(sa.select(schema.users).order_by(schema.users.c.email)).all())
    assert [(row.email, row.user_id, row.looked_up_at) for row in stored] == [
        ("a", "P1", clock.now),
        ("b", "P3", clock.now),
        ("c", "P4", clock.now),
    ]


def test_a_second_daemon_on_the_same_sqlite_file_is_rejected(tmp_path: Path) -> None:
    first, second = Database(f"sqlite:///{tmp_path}/x.db"), Database(f"sqlite:///{tmp_path}/x.db")
    first.lock()
    with pytest.raises(errors.DatabaseInUse, match="in use by another pagerelay daemon"):
        second.lock()
    first.close()
    second.lock()
    second.close()


def test_an_unreachable_database_is_reported_in_one_sentence_without_the_password(tmp_path: Path) -> None:
    database = Database(f"postgresql://someone:hunter2@/nothing?host={tmp_path}")
    with pytest.raises(errors.DatabaseError) as caught:
        database.version()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    database.close()


def test_a_new_sqlite_file_and_its_companions_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        database = Database(f"sqlite:///{tmp_path}/x.db")
        database.lock()
        database.upgrade()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("x.db", "x.db-wal", "x.db-shm", "x.db.lock"), 0o600)


def test_an_existing_sqlite_file_keeps_its_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    first = Database(f"sqlite:///{path}")
    first.upgrade()
    first.close()
    path.chmod(0o640)
    again = Database(f"sqlite:///{path}")
    again.check()
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_sqlite_file_that_cannot_be_created_is_reported_in_one_sentence(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    with pytest.raises(errors.DatabaseError, match=re.escape("database: unable to open database file")):
        database.upgrade()
    database.close()
