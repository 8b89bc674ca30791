"""The reading part of /v1, and who may use it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from daemon import api
from daemon.storage import schema
from tests.api.client import client_of
from tests.harness import sample_data
from tests.harness.shared_application import application

if TYPE_CHECKING:
    import httpx

    from daemon.settings import Settings
    from daemon.storage.database import Database

PATHS = ("/status", "/connections", "/triggers", "/targets", "/events", "/deliveries", "/deliveries/3")


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_is_available_with_the_token(reader: httpx.AsyncClient, path: str) -> None:
    answer = await reader.get(f"/v1{path}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {sample_data.TOKEN}"},
        {"authorization": "Bearer "},
    ],
)
async def test_every_path_is_401_without_the_right_token(reader: httpx.AsyncClient, header: dict[str, str]) -> None:
    del reader.headers["authorization"]
    for path in PATHS:
        answer = await reader.get(f"/v1{path}", headers=header)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_token_with_non_ascii_characters_is_401_and_not_500(reader: httpx.AsyncClient) -> None:
    answer = await reader.get("/v1/status", headers=[(b"authorization", "Bearer schlüssel".encode())])
    assert answer.status_code == 401


async def test_without_a_configured_token_v1_is_closed_and_says_how_to_enable_it(
    database: Database, settings: Settings
) -> None:
    assert settings.api is not None
    open_to_nobody = replace(settings, api=replace(settings.api, token=None))
    async with client_of(application(database, api.Current(open_to_nobody))) as client:
        answer = await client.get("/v1/status")
    assert answer.status_code == 403
    assert "set api.token" in answer.json()["detail"]


async def test_status_summarizes_the_whole_daemon(reader: httpx.AsyncClient) -> None:
    status = (await reader.get("/v1/status")).json()
    assert [each["budget"]["left"] for each in status["connections"]] == [26, 30]
    assert [each["pending"] for each in status["targets"]] == [0, 2]
    assert [each["behind"] for each in status["triggers"]] == [2, 1]
    assert status["journal"]["events"] == 5
    assert status["now"] == "2026-11-23T10:00:00Z"


async def test_targets_show_whether_they_are_paused_and_hide_secrets_in_their_url(reader: httpx.AsyncClient) -> None:
    chat = (await reader.get("/v1/targets")).json()["items"][0]
    assert chat["paused"] is False
    assert chat["url"] == "https://chat.example.com/…"


async def test_the_cursor_of_a_page_leads_to_the_next_page(reader: httpx.AsyncClient) -> None:
    ids, cursor = [], None
    for _ in range(3):
        page = (await reader.get("/v1/events", params={"limit": 2} | ({"after": cursor} if cursor else {}))).json()
        ids += [each["id"] for each in page["items"]]
        cursor = page["next"]
    assert ids == ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"]
    assert cursor is None


async def test_filters_are_applied_to_the_lists(reader: httpx.AsyncClient) -> None:
    dead = (await reader.get("/v1/deliveries", params={"state": "dead", "target": "ops"})).json()
    assert [each["id"] for each in dead["items"]] == [2]
    resolved = (await reader.get("/v1/events", params={"type": "incident.resolved", "connection": "beta"})).json()
    assert [each["id"] for each in resolved["items"]] == ["evt_5"]


async def test_a_delivery_shows_its_attempts(reader: httpx.AsyncClient) -> None:
    delivery = (await reader.get("/v1/deliveries/3")).json()
    assert delivery["delivery"]["state"] == "pending"
    assert [each["status"] for each in delivery["attempts"]] == [None, 503]
    assert delivery["event"]["id"] == "evt_3"


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/v1/deliveries/99", 404, "unknown delivery 99"),
        ("/v1/deliveries/" + "9" * 30, 404, "unknown delivery 9999"),
        ("/v1/deliveries/x", 422, "path.id: "),
        ("/v1/events?limit=501", 422, "query.limit: "),
        ("/v1/events?limit=0", 422, "query.limit: "),
        ("/v1/events?after=x", 422, 'invalid cursor in "after"'),
        ("/v1/events?type=x", 422, 'unknown event type "x"'),
        ("/v1/events?incident=%00", 422, "invalid id"),
        ("/v1/deliveries?state=x", 422, "'pending', 'retrying', 'delivered' or 'dead'"),
        ("/v1/deliveries?target=op", 422, 'did you mean "ops"?'),
        ("/v1/deliveries?status=dead", 422, "query.status: unknown parameter"),
        ("/v1/nothing", 404, "unknown path"),
    ],
)
async def test_an_invalid_request_is_answered_with_a_problem_document(
    reader: httpx.AsyncClient, path: str, status: int, detail: str
) -> None:
    answer = await reader.get(path)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, "about:blank")
    assert detail in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/events", "GET"),
        ("PUT", "/actions/act_1", "GET"),
        ("PUT", "/actions/GetUser", "POST"),
        ("POST", "/actions", "GET"),
    ],
)
async def test_a_wrong_method_is_answered_with_a_problem_that_names_the_allowed_ones(
    reader: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await reader.request(method, f"/v1{path}")
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["title"] == "Method Not Allowed"


async def test_a_database_failure_is_answered_with_a_problem_without_a_traceback(
    client: httpx.AsyncClient, database: Database
) -> None:
    database.write_now(schema.attempts.drop)
    answer = await client.get("/v1/deliveries/3")
    assert answer.status_code == 503
    assert "attempts" in answer.json()["detail"]
    assert "Traceback" not in answer.text


async def test_no_secret_is_in_any_response(reader: httpx.AsyncClient) -> None:
    paths = [f"/v1{path}" for path in PATHS]
    for path in (
        *paths,
        "/metrics",
        "/readyz",
        "/healthz",
        "/openapi.json",
        f"/v1/events?type={sample_data.CANARIES[1]}x",
    ):
        answer = await reader.get(path)
        leaked = [each for each in sample_data.CANARIES if each in answer.text and each not in path]
        assert leaked == [], path
