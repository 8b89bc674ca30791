"""Wrong tokens are logged, with the address that they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import structlog

from daemon import api
from daemon.api import access
from tests.harness.watch import Watch

if TYPE_CHECKING:
    import pytest

    from daemon.settings import Settings
    from daemon.storage.database import Database


def test_wrong_tokens_are_logged_once_a_minute_for_each_address() -> None:
    watch = Watch()
    wrong_tokens = access.WrongTokens(watch)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            wrong_tokens.add("10.0.0.1", "/v1/status")
        wrong_tokens.add("10.0.0.2", "/v1/status")
        watch.seconds = 61
        wrong_tokens.add("10.0.0.1", "/v1/events")
    assert [(line["address"], line["path"], line["more_since_last_line"]) for line in lines] == [
        ("10.0.0.1", "/v1/status", 0),
        ("10.0.0.2", "/v1/status", 0),
        ("10.0.0.1", "/v1/events", 4),
    ]


def test_the_log_of_wrong_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_ADDRESSES", 3)
    wrong_tokens = access.WrongTokens(Watch())
    for number in range(10):
        wrong_tokens.add(f"10.0.0.{number}", "/v1/status")
    with structlog.testing.capture_logs() as lines:
        wrong_tokens.add("10.0.0.9", "/v1/status")  # still remembered
        wrong_tokens.add("10.0.0.0", "/v1/status")  # forgotten
    assert [line["address"] for line in lines] == ["10.0.0.0"]


async def test_a_wrong_token_is_logged_without_it_and_a_missing_one_is_not(
    database: Database, settings: Settings
) -> None:
    app = api.create(database, api.Current(settings))
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        with structlog.testing.capture_logs() as lines:
            await client.get("/v1/status")
            await client.get("/v1/status", headers={"authorization": "Bearer canary-guess"})
    assert [(line["event"], line["address"]) for line in lines] == [("request.wrong_token", "192.0.2.7")]
    assert "canary" not in str(lines)
