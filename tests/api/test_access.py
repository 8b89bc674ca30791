"""Two tokens: one may do everything, the other may only read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from daemon import api
from daemon.settings import Access, ApiSettings
from tests.api.client import client_of
from tests.harness import sample_data
from tests.harness.shared_application import application

if TYPE_CHECKING:
    from daemon.settings import Settings
    from daemon.storage.database import Database

READ = "canary-read-token"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    assert settings.api is not None
    return dataclasses.replace(settings, api=dataclasses.replace(settings.api, read_token=SecretStr(READ)))


async def test_the_read_token_reads_and_changes_nothing(database: Database, settings: Settings) -> None:
    async with client_of(application(database, api.Current(settings)), token=READ) as client:
        for path in ("/v1/status", "/v1/targets", "/v1/deliveries", "/v1/actions", "/v1/replays"):
            assert (await client.get(path)).status_code == 200
        for path in ("/v1/targets/ops/pause", "/v1/replays", "/v1/deliveries/1/redeliver", "/v1/actions/GetUser"):
            answer = await client.post(path, json={})
            assert (answer.status_code, answer.json()["detail"]) == (
                403,
                "the read token cannot change anything (use api.token)",
            )
    async with client_of(application(database, api.Current(settings))) as client:
        assert (await client.get("/v1/targets")).json()["items"][1]["paused"] is False


@pytest.mark.parametrize(
    ("token", "access"), [(sample_data.TOKEN, Access.FULL), (READ, Access.READ), ("", None), ("none\xff", None)]
)
def test_a_token_has_the_access_that_the_configuration_grants(token: str, access: Access | None) -> None:
    settings = ApiSettings("127.0.0.1", 80, SecretStr(sample_data.TOKEN), SecretStr(READ))
    assert settings.access_of(token) is access
    assert ApiSettings("127.0.0.1", 80, None).access_of(token) is None
