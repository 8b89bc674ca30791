"""The page over a database with something of everything in it."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from daemon import api
from daemon.control import Services
from tests.api.action_api import opened
from tests.conftest import ManualClock
from tests.harness import sample_data
from tests.harness.shared_application import application
from tests.page.person import Person, visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from tests.api.action_api import ActionApi

collect_ignore = [] if shutil.which("chromium") else ["test_in_a_browser.py"]

READ_TOKEN = "canary-read-token"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return _settings(tmp_path, database_url)


def _settings(folder: Path, database_url: str) -> Settings:
    loaded = sample_data.settings(folder, database_url)
    assert loaded.api is not None
    return dataclasses.replace(loaded, api=dataclasses.replace(loaded.api, read_token=SecretStr(READ_TOKEN)))


@pytest.fixture
def woken() -> list[str]:
    """Return what was woken: targets, and ``replays``."""
    return []


@pytest.fixture
def services(woken: list[str]) -> Services:
    return Services(wake_targets=woken.extend, wake_replays=lambda: woken.append("replays"))


@pytest.fixture
def app(database: Database, settings: Settings, services: Services, clock: ManualClock) -> FastAPI:
    database.write_now(sample_data.fill, clock.now)
    return application(database, api.Current(settings, services))


@pytest.fixture
async def person(app: FastAPI) -> AsyncIterator[Person]:
    async with visiting(app) as signed_in:
        yield signed_in


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield a database that many tests share, because they change nothing."""
    yield from sample_data.shared_database(request, tmp_path_factory.mktemp("samples"), ManualClock())


@pytest.fixture(scope="module")
def samples_app(samples: Database, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return api.create(samples, api.Current(_settings(tmp_path_factory.mktemp("samples-app"), "sqlite:///elsewhere.db")))


@pytest.fixture
async def visitor(samples_app: FastAPI) -> AsyncIterator[Person]:
    """Yield somebody who may change everything, and only looks."""
    async with visiting(samples_app) as signed_in:
        yield signed_in


@pytest.fixture
async def reader(samples_app: FastAPI) -> AsyncIterator[Person]:
    """Yield somebody who may only look."""
    async with visiting(samples_app, READ_TOKEN) as signed_in:
        yield signed_in


@pytest.fixture
async def action_api(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[ActionApi]:
    """Yield a page over a simulated account."""
    async with opened(database, clock, tmp_path) as ready:
        yield ready
