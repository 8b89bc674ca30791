"""An HTTP client for the API, in this process, over a database with something of everything in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon import api
from tests.api.action_api import ActionApi, opened
from tests.api.client import client_of
from tests.conftest import ManualClock
from tests.harness import sample_data
from tests.harness.shared_application import application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

    from daemon.settings import Settings
    from daemon.storage.database import Database


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return sample_data.settings(tmp_path, database_url)


@pytest.fixture
def app(database: Database, settings: Settings, clock: ManualClock) -> FastAPI:
    database.write_now(sample_data.fill, clock.now)
    return application(database, api.Current(settings))


@pytest.fixture
def own_app(database: Database, settings: Settings) -> FastAPI:
    """Return an application that a test may change."""
    return api.create(database, api.Current(settings))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    yield from sample_data.shared_database(request, tmp_path_factory.mktemp("samples"), ManualClock())


@pytest.fixture(scope="module")
def read_only_app(samples: Database, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return api.create(
        samples, api.Current(sample_data.settings(tmp_path_factory.mktemp("read-only"), "sqlite:///elsewhere.db"))
    )


@pytest.fixture
async def reader(read_only_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that only reads, over an application and a database that many tests share."""
    async with client_of(read_only_app) as opened:
        yield opened


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as opened:
        yield opened


@pytest.fixture
async def action_api(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[ActionApi]:
    async with opened(database, clock, tmp_path) as environment:
        yield environment
