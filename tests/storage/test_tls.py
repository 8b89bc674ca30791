"""TLS and client certificates to PostgreSQL, from PgBouncer: the server of the tests is built without TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon import errors
from daemon.storage.database import HEAD, Database
from tests.cli.conftest import calling
from tests.harness import sample_data
from tests.harness.certificates import Authority
from tests.harness.pooler import USER, Pooler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Postgres
    from tests.harness.certificates import Pair


@pytest.fixture(scope="module")
def servers() -> Authority:
    return Authority("Servers")


@pytest.fixture(scope="module")
def clients() -> Authority:
    return Authority("Clients")


@pytest.fixture(scope="module")
def secure(postgres: Postgres, servers: Authority, clients: Authority) -> Iterator[str]:
    """Yield the URL of a new database that only a client certificate opens, and only over TLS."""
    pooler = Pooler(postgres.url("postgres"), (servers, clients))
    yield pooler.url(postgres.new(template="template1"))
    pooler.stop()


def parameters(folder: Path, servers: Authority, client: Pair | None) -> str:
    """Return the query of a URL that checks the server's certificate and shows one's own."""
    (folder / "ca.pem").write_text(servers.pem)
    query = f"sslmode=verify-full&sslrootcert={folder}/ca.pem"
    if client is None:
        return f"{query}&sslcert={folder}/none.pem"
    certificate, key = client.written(folder, "client")
    key.chmod(0o600)
    return f"{query}&sslcert={certificate}&sslkey={key}"


def test_a_client_certificate_opens_a_server_that_accepts_nothing_else(
    secure: str, servers: Authority, clients: Authority, tmp_path: Path
) -> None:
    url = f"{secure}?{parameters(tmp_path, servers, clients.issue(USER, client=True))}"
    result = calling(sample_data.settings(tmp_path, url).source)("db", "upgrade")
    assert result.stdout == f"upgraded the database from no schema to schema {HEAD}\n"
    plain = Database(f"{secure}?sslmode=disable")
    with pytest.raises(errors.DatabaseError, match="SSL required"):
        plain.version()
    plain.close()


@pytest.mark.parametrize(
    ("server", "client", "message"),
    [
        ("other", "right", "certificate verify failed"),
        ("right", "none", "certificate required"),
        ("right", "other", "unknown ca"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said_in_one_sentence(
    secure: str,
    servers: Authority,
    clients: Authority,
    tmp_path: Path,
    server: str,
    client: str,
    message: str,
) -> None:
    issuer = clients if client == "right" else Authority("Others")
    pair = None if client == "none" else issuer.issue(USER, client=True)
    expected = servers if server == "right" else Authority("Others")
    database = Database(f"{secure}?{parameters(tmp_path, expected, pair)}")
    with pytest.raises(errors.DatabaseError, match=message) as raised:
        database.version()
    assert "\n" not in str(raised.value)
    database.close()
