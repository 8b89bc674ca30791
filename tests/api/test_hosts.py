"""Requests for other names than the server's own are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from daemon import api
from tests.harness import sample_data
from tests.harness.shared_application import application

if TYPE_CHECKING:
    from daemon.settings import Settings
    from daemon.storage.database import Database


async def asked_for(database: Database, settings: Settings, hosts: tuple[str, ...] | None, host: str) -> int:
    """Return the status of a request with this Host header that arrived at 10.1.2.3."""
    assert settings.api is not None
    app = application(database, api.Current(replace(settings, api=replace(settings.api, hosts=hosts))))

    async def arrived(scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - ASGI
        await app(scope | {"server": ("10.1.2.3", 8421)}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(arrived), base_url="http://pagerelay") as client:
        paths = ("/healthz", "/metrics", "/v1/status")
        answers = [await client.get(path, headers={"host": host, **_authorization()}) for path in paths]
        (status,) = {answer.status_code for answer in answers}
        return status


def _authorization() -> dict[str, str]:
    return {"authorization": f"Bearer {sample_data.TOKEN}"}


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8421", "LOCALHOST.", "127.0.0.1:8421", "127.9.9.9", "[::1]:8421", "10.1.2.3:8421"]
)
async def test_loopback_names_and_the_servers_address_are_always_its_own(
    database: Database, settings: Settings, host: str
) -> None:
    assert await asked_for(database, settings, (), host) == 200
    assert await asked_for(database, settings, ("pagerelay.example.com",), host) == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8421", "localhost.evil.example", "10.1.2.4", ":80", ""])
async def test_other_names_are_refused_on_loopback_and_where_names_are_configured(
    database: Database, settings: Settings, host: str
) -> None:
    assert await asked_for(database, settings, (), host) == 421
    assert await asked_for(database, settings, ("pagerelay.example.com",), host) == 421
    assert await asked_for(database, settings, None, host) == 200


async def test_configured_names_are_the_servers_own(database: Database, settings: Settings) -> None:
    for host in ("pagerelay.example.com", "Pagerelay.Example.com:443"):
        assert await asked_for(database, settings, ("pagerelay.example.com",), host) == 200
        assert await asked_for(database, settings, (), host) == 421
