"""The migrations: they build what the code uses, on both databases, by themselves and again and again."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from daemon import errors
from daemon.storage import schema
from daemon.storage.database import HEAD, Database, migrations_path, system_clock
from tests.cli.conftest import calling
from tests.conftest import START
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Postgres

ALEMBIC, COUNTERS = "alembic_version", "sqlite_sequence"  # not ours
CATALOGUE = {
    "sqlite": (
        "SELECT type, name, tbl_name, sql FROM sqlite_schema",
        "SELECT t.name, c.* FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'",
        """SELECT t.name, i.name, i."unique", i.origin, i.partial, c.* FROM sqlite_schema t,
           pragma_index_list(t.name) i, pragma_index_xinfo(i.name) c WHERE t.type = 'table'""",
    ),
    "postgresql": (
        """SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default
           FROM information_schema.columns WHERE table_schema = 'public'""",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
           WHERE connamespace = 'public'::regnamespace""",
        "SELECT sequencename, data_type::text, start_value, increment_by, cycle FROM pg_sequences",
        """SELECT relname, reloptions::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
           AND reloptions IS NOT NULL""",
    ),
}
PARTS = re.compile(r",(?![^(]*\))|\n")
PROCESSES = 2
DOCUMENT = Path(__file__).parents[2] / "docs" / "postgresql.md"
UPGRADE = "import sys; from daemon.storage.database import Database; print(Database(sys.argv[1]).upgrade())"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Yield a database without a single table, once of each kind."""
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new(template="template1")
    database = Database(url)
    yield database
    database.close()


def url_of(database: Database) -> str:
    """Return its URL, for another one to open it."""
    return database.url.render_as_string(hide_password=False)


def catalogue(database: Database) -> dict[str, set[tuple[Any, ...]]]:
    """Return what the database itself says about every table, column, index and constraint."""

    def look(tx: sa.Connection) -> dict[str, set[tuple[Any, ...]]]:
        queries = CATALOGUE[tx.dialect.name]
        rows = {query: {_normal(row) for row in tx.execute(sa.text(query))} for query in queries}
        return {query: {row for row in found if not {ALEMBIC, COUNTERS} & set(row)} for query, found in rows.items()}

    return database.read_now(look)


def tables(database: Database) -> list[str]:
    """Return the names of all tables."""
    return database.read_now(lambda tx: sorted(sa.inspect(tx).get_table_names()))


def _normal(row: sa.Row[Any]) -> tuple[Any, ...]:
    """A row; the text of a statement as the set of its parts: neither constraints nor added columns have an order."""
    return tuple(
        frozenset(part.strip() for part in PARTS.split(value.strip().removesuffix(")")) if part.strip())
        if isinstance(value, str) and value.startswith("CREATE TABLE")
        else value
        for value in row
    )


def test_the_migrations_build_exactly_the_schema_of_the_code(empty: Database) -> None:
    empty.upgrade()
    migrated = catalogue(empty)
    empty.write_now(schema.metadata.drop_all)
    assert not any(catalogue(empty).values())
    empty.write_now(schema.metadata.create_all)
    described = catalogue(empty)
    assert migrated == described
    assert all(described.values())


def test_the_condition_of_every_partial_index_is_kept(empty: Database) -> None:
    empty.upgrade()
    option = "sqlite_where" if empty.is_sqlite else "postgresql_where"
    indexes = empty.read_now(lambda tx: sa.inspect(tx).get_indexes("deliveries"))
    found = {str(index["name"]): str(index.get("dialect_options", {}).get(option)) for index in indexes}
    free = " AND claimed_by IS NULL" if empty.is_sqlite else ""
    assert {name: re.sub(r"[()]|::text", "", condition) for name, condition in found.items()} == {
        "deliveries_by_state": "None" if empty.is_sqlite else "state <> 'pending'",
        "deliveries_dead": "state = 'dead'",
        "deliveries_dead_in_order": "state = 'dead'",
        "deliveries_by_replay": "replay IS NOT NULL",
        "deliveries_due": f"state = 'pending'{free} AND replay IS NULL",
        "deliveries_replay_due": f"state = 'pending'{free} AND replay IS NOT NULL",
        "deliveries_in_order": "state = 'pending'",
        "deliveries_retrying": "state = 'pending' AND attempts > 0",
        "deliveries_retrying_in_order": "state = 'pending' AND attempts > 0",
    } | ({} if empty.is_sqlite else {"deliveries_once_per_target": "None"})


def test_alembic_sees_no_difference_in_types_defaults_or_indexes(empty: Database) -> None:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - slow to import
    from alembic.migration import MigrationContext  # noqa: PLC0415

    empty.upgrade()
    options = {"compare_type": True, "compare_server_default": True}

    def compare(tx: sa.Connection) -> Any:
        return compare_metadata(MigrationContext.configure(tx, opts=options), schema.metadata)

    assert empty.read_now(compare) == []


def test_upgrading_an_empty_database_works_and_upgrading_again_changes_nothing(empty: Database) -> None:
    assert empty.version() is None
    revisions: list[str] = []
    assert empty.upgrade(revisions.append) == HEAD
    assert revisions == [f"{number:04}" for number in range(1, int(HEAD) + 1)], "each is reported"
    built = catalogue(empty)
    assert empty.upgrade(revisions.append) == HEAD
    assert empty.version() == HEAD
    assert catalogue(empty) == built
    empty.check()


def test_daemons_starting_together_on_a_new_database_all_find_it_ready(empty: Database) -> None:
    command = [sys.executable, "-c", UPGRADE, url_of(empty)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in running]
    assert ended == [(f"{HEAD}\n", "", 0)] * PROCESSES
    empty.check()


def test_a_migration_that_fails_halfway_leaves_nothing_behind(empty: Database) -> None:
    empty.write_now(schema.users.create)  # the last table that the first migration makes
    before = tables(empty)
    with pytest.raises(errors.DatabaseError, match="already exists"):
        empty.upgrade()
    assert tables(empty) == before
    assert empty.version() is None


@pytest.mark.parametrize("ask", [Database.upgrade, Database.check])
def test_a_newer_schema_is_rejected_and_left_unchanged(database: Database, ask: Any) -> None:
    database.write_now(lambda tx: tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")) and None)
    before = catalogue(database)
    with pytest.raises(errors.SchemaTooNew) as refused:
        ask(database)
    assert str(refused.value) == (
        f"the database has schema 9999, this version of pagerelay knows up to {HEAD} "
        "(install the version that wrote it, or a newer one)"
    )
    assert database.version() == "9999"
    assert catalogue(database) == before


def test_migrations_form_one_line_that_ends_at_head() -> None:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - slow to import

    assert ScriptDirectory(str(migrations_path())).get_heads() == [HEAD]


def test_no_migration_depends_on_code_that_may_change() -> None:
    files = sorted((migrations_path() / "versions").glob("*.py"))
    assert files
    for path in files:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert {name.partition(".")[0] for name in names} <= {"alembic", "sqlalchemy"}, path.name


def upgrade_to(database: Database, revision: str) -> None:
    """Bring a database to an older schema."""
    from alembic import command  # noqa: PLC0415 - slow to import
    from alembic.config import Config  # noqa: PLC0415

    configuration = Config()
    configuration.set_main_option("script_location", str(migrations_path()))

    def migrate(tx: sa.Connection) -> None:
        configuration.attributes["connection"] = tx
        command.upgrade(configuration, revision)

    database.write_now(migrate)


def test_targets_of_schema_0003_keep_their_pauses_probes_and_leases(empty: Database) -> None:
    upgrade_to(empty, "0003")
    now = empty.read_now(empty.now)
    soon, later = now + timedelta(seconds=60), now + timedelta(hours=1)
    columns = ("name", "failing_since", "probe_at", "paused_at", "probes", "last_error")
    before: list[tuple[Any, ...]] = [
        ("new", None, None, None, 0, None),
        ("blocked", None, later, None, 0, None),
        ("blocked-before", None, START, None, 0, None),
        ("paused-and-blocked", None, soon, now, 0, None),
        ("failing", START, soon, None, 3, "answered 500"),
        ("failing-and-due", START, START, None, 3, "answered 500"),
        ("failing-and-blocked", START, later, None, 3, "answered 503"),
    ]
    old = sa.table("targets", *(sa.column(name, schema.targets.c[name].type) for name in columns))
    empty.write_now(
        lambda tx: tx.execute(old.insert(), [dict(zip(columns, row, strict=True)) for row in before]) and None
    )
    empty.upgrade()
    rows = empty.read_now(lambda tx: tx.execute(sa.select(schema.targets)).all())
    assert {(row.name, row.probe_at, row.blocked_until) for row in rows} == {
        ("new", None, None),
        ("blocked", None, later),
        ("blocked-before", None, START),
        ("paused-and-blocked", None, soon),
        ("failing", soon, None),
        ("failing-and-due", START, None),
        ("failing-and-blocked", later, later),
    }
    kept = {(row.name, row.failing_since, row.paused_at, row.probes, row.last_error) for row in rows}
    assert kept == {(name, failing, paused, probes, error) for name, failing, _, paused, probes, error in before}


def test_old_data_survives_every_migration_and_works_afterwards(empty: Database, tmp_path: Path) -> None:
    samples = sample_rows(tmp_path)
    stored: dict[str, list[dict[str, Any]]] = {}
    for number in range(1, int(HEAD) + 1):
        upgrade_to(empty, f"{number:04}")
        here = empty.read_now(_tables)
        for name in [each for each in samples if each in here and each not in stored]:
            stored[name] = [{key: row[key] for key in row.keys() & here[name].columns.keys()} for row in samples[name]]
            empty.write_now(_insert, schema.metadata.tables[name], stored[name])
    assert stored.keys() == samples.keys()
    for name, rows in stored.items():
        assert empty.read_now(_keys, schema.metadata.tables[name], rows) == _sorted(rows), name
    command = calling(sample_data.settings(tmp_path, url_of(empty)).source)
    for arguments in (["status"], ["deliveries", "list"], ["deliveries", "show", "3"], ["actions", "list"], ["events"]):
        result = command(*arguments)
        assert result.exit_code == 0, (arguments, result.output)


def sample_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return rows of every table that is filled in the tests' samples, in the order in which they can be inserted."""
    database = Database(f"sqlite:///{folder / 'samples.db'}")
    database.upgrade()
    database.write_now(sample_data.fill, system_clock())
    tables = schema.metadata.sorted_tables
    rows = {table.name: [dict(row._mapping) for row in database.read_now(_all, table)] for table in tables}
    database.close()
    return {name: some for name, some in rows.items() if some}


def _tables(tx: sa.Connection) -> dict[str, sa.Table]:
    described = sa.MetaData()
    described.reflect(tx)
    return dict(described.tables)


def _all(tx: sa.Connection, table: sa.Table) -> list[sa.Row[Any]]:
    return list(tx.execute(table.select()))


def _insert(tx: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    columns = [sa.column(name, table.c[name].type) for name in rows[0]]
    tx.execute(sa.table(table.name, *columns).insert(), rows)


def _keys(tx: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> list[str]:
    """Return the stored rows, with the columns of ``rows``, as text in one order."""
    return _sorted([dict(row._mapping) for row in tx.execute(sa.select(*(table.c[name] for name in rows[0])))])


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


def test_a_backup_from_before_an_upgrade_brings_the_old_database_back(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'pagerelay.db'}")
    upgrade_to(database, "0008")
    row = {"name": "ops", "probes": 0}
    database.write_now(_insert, schema.targets, [row])
    before = catalogue(database)
    database.close()
    command = calling(sample_data.settings(tmp_path, url_of(database)).source)
    assert f"schema 0008 in {tmp_path / 'copy.db'}" in command("db", "backup", str(tmp_path / "copy.db")).stdout
    assert command("db", "upgrade").stdout == f"upgraded the database from schema 0008 to schema {HEAD}\n"
    assert "with schema 0008" in command("db", "restore", str(tmp_path / "copy.db")).stdout
    restored = Database(f"sqlite:///{tmp_path / 'pagerelay.db'}")
    assert restored.version() == "0008"
    assert catalogue(restored) == before
    assert restored.upgrade() == HEAD, "and it can be upgraded again"
    assert restored.read_now(_keys, schema.targets, [row]) == _sorted([row])
    restored.close()


def test_a_dump_from_before_an_upgrade_brings_the_old_database_back(postgres: Postgres, tmp_path: Path) -> None:
    dump, restore = re.findall(r"```sh\n((?:pg_dump|psql) .*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    database = Database(postgres.new(template="template1"))
    upgrade_to(database, "0008")
    row = {"name": "ops", "probes": 0}
    database.write_now(_insert, schema.targets, [row])
    before = catalogue(database)
    url = url_of(database).replace("+psycopg", "")
    environment = {"PATH": f"{postgres.programs}:{os.environ['PATH']}", "DATABASE_URL": url}
    shell = ["sh", "-euc"]
    subprocess.run([*shell, dump], check=True, cwd=tmp_path, env=environment, capture_output=True)
    database.upgrade()
    subprocess.run([*shell, restore], check=True, cwd=tmp_path, env=environment, capture_output=True)
    assert database.version() == "0008"
    assert catalogue(database) == before
    assert database.upgrade() == HEAD, "and it can be upgraded again"
    assert database.read_now(_keys, schema.targets, [row]) == _sorted([row])
    database.close()
