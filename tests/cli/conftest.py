"""The command line, called in this process, over a database that is filled as of now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest
from typer.testing import CliRunner

from daemon.cli import app
from daemon.storage.database import Database, system_clock
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result


class Call(Protocol):
    """Calls ``pagerelay`` with arguments and the test's configuration."""

    def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> Result: ...


def invoke(*arguments: str, stdin: str | bytes | None = None, **environment: str) -> Result:
    """Call ``pagerelay``."""
    plain: dict[str, Any] = {"PAGERELAY_CONFIG": None, "COLUMNS": None, "NO_COLOR": None}
    runner = CliRunner()
    return runner.invoke(app, list(arguments), input=stdin, env=plain | environment, prog_name="pagerelay")


def calling(configuration: Path) -> Call:
    """``pagerelay`` with one configuration."""
    return lambda *arguments, stdin=None: invoke("--config", str(configuration), *arguments, stdin=stdin)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def on_samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Yield a call of ``pagerelay`` on a filled database that many tests share and none changes."""
    folder = tmp_path_factory.mktemp("on_samples")
    for database in sample_data.shared_database(request, folder, system_clock):
        settings = sample_data.settings(folder, database.url.render_as_string(hide_password=False))
        yield calling(settings.source)


@pytest.fixture
def configuration(tmp_path: Path, database_url: str) -> Path:
    return sample_data.settings(tmp_path, database_url).source


@pytest.fixture
def pagerelay(configuration: Path) -> Call:
    return calling(configuration)


@pytest.fixture
def filled(database_url: str) -> str:
    """Fill a database with samples of everything, as of now; return its URL."""
    database = Database(database_url)
    database.write_now(sample_data.fill, system_clock())
    database.close()
    return database_url
