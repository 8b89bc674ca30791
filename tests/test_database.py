"""The database: one writer at a time, nothing half committed, one daemon per SQLite file, migrations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon import errors, schema
from daemon.database import HEAD, Database

if TYPE_CHECKING:
    from tests.conftest import ManualClock


def _increment(tx: sa.Connection) -> None:
    table = schema.triggers
    found = tx.execute(sa.select(table.c.watermark).where(table.c.name == "t").with_for_update()).scalar_one()
    tx.execute(table.update().where(table.c.name == "t").values(watermark=found + 1))


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


async def test_instants_come_back_exactly(database: Database, clock: ManualClock) -> None:
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


def test_a_newer_schema_is_refused_with_a_clear_message(database: Database) -> None:
    database.write_now(lambda tx: tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")) and None)
    with pytest.raises(errors.SchemaTooNew, match=f"schema 9999, this version of pagerelay knows up to {HEAD}"):
        database.upgrade()


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    assert database.upgrade() == HEAD
    assert database.upgrade() == HEAD


def test_the_migrations_build_exactly_the_tables_that_the_code_uses(database: Database) -> None:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - slow to import
    from alembic.migration import MigrationContext  # noqa: PLC0415

    difference = database.read_now(lambda tx: compare_metadata(MigrationContext.configure(tx), schema.metadata))
    assert difference == []


def test_a_second_daemon_on_the_same_sqlite_file_is_refused(tmp_path: object) -> None:
    first, second = Database(f"sqlite:///{tmp_path}/x.db"), Database(f"sqlite:///{tmp_path}/x.db")
    first.lock()
    with pytest.raises(errors.DatabaseInUse, match="in use by another pagerelay daemon"):
        second.lock()
    first.close()
    second.lock()
    second.close()


def test_an_unreachable_database_is_one_clear_sentence_without_the_password(tmp_path: object) -> None:
    database = Database(f"postgresql://someone:hunter2@/nothing?host={tmp_path}")
    with pytest.raises(errors.DatabaseError) as caught:
        database.version()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    database.close()
