"""PostgreSQL with a schema and roles of pagerelay's own, as docs/postgresql.md describes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa

from daemon.storage.database import HEAD, Database, system_clock
from tests.cli.conftest import calling
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Postgres

DOCUMENT = Path(__file__).parents[2] / "docs" / "postgresql.md"
OWNER, DAEMON = "pagerelay_owner", "pagerelay"


def statements() -> list[str]:
    """Return the statements of the document that create the roles, the schema and the grants."""
    (block,) = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [each.strip() for each in re.sub(r"--.*", "", block).split(";") if each.strip()]


@pytest.fixture
def shared(postgres: Postgres) -> Iterator[str]:
    """A database in which another program has tables, with the document's roles, schema and grants; as a superuser."""
    url = postgres.new(template="template1")
    name = sa.make_url(url).database
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.alembic_version (version_num varchar(32))")
        connection.execute("INSERT INTO public.alembic_version VALUES ('ae1027a6acf')")
        for each in statements():
            connection.execute(each.replace("DATABASE pagerelay", f'DATABASE "{name}"').encode())
        yield url
        connection.execute("DROP SCHEMA pagerelay CASCADE")
        for role in (DAEMON, OWNER):
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def url_of(shared: str, role: str) -> str:
    """Return the URL for a role."""
    return sa.make_url(shared).set(username=role).render_as_string(hide_password=False)


def test_a_daemon_without_create_uses_the_schema_that_its_owner_upgraded(shared: str, tmp_path: Path) -> None:
    pagerelay = calling(sample_data.settings(tmp_path, url_of(shared, OWNER)).source)
    assert pagerelay("db", "upgrade").stdout == f"upgraded the database from no schema to schema {HEAD}\n"
    database = Database(url_of(shared, DAEMON), writes=True)
    assert database.upgrade() == HEAD
    database.write_now(sample_data.fill, system_clock())
    query = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('deliveries', 'messages')"
    assert database.read_now(lambda tx: tx.execute(sa.text(query)).scalars().all()) == ["pagerelay"]
    database.close()
    daemon = calling(sample_data.settings(tmp_path, url_of(shared, DAEMON)).source)
    assert daemon("db", "prune").exit_code == 0
    assert daemon("status").exit_code == 0


def test_a_daemon_that_may_not_upgrade_says_who_can(shared: str, tmp_path: Path) -> None:
    pagerelay = calling(sample_data.settings(tmp_path, url_of(shared, DAEMON)).source)
    result = pagerelay("db", "upgrade")
    assert result.exit_code == 2, "no restart mends it"
    assert result.stderr == (
        "the database has no schema, and its role may not upgrade it to "
        f"{HEAD}: permission denied for schema pagerelay (run pagerelay db upgrade as the role that owns the tables)\n"
    )


def test_the_search_path_of_a_url_chooses_the_schema(shared: str) -> None:
    url = sa.make_url(shared).update_query_dict({"options": "-csearch_path=pagerelay"})
    database = Database(url.render_as_string(hide_password=False))
    assert database.version() is None, "the table of another program is not looked at"
    assert database.upgrade() == HEAD
    query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert database.read_now(lambda tx: tx.execute(sa.text(query)).scalar_one()) == 1
    database.close()
