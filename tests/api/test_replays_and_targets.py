"""Sending again over HTTP: one delivery, a replay; and targets that are held."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon import api
from daemon.storage import replays, schema
from daemon.views import paging, replay_list
from tests.api.client import client_of
from tests.harness import sample_data
from tests.harness.shared_application import application

if TYPE_CHECKING:
    import httpx

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

DAY = timedelta(days=1)


def since(clock: ManualClock, **more: Any) -> dict[str, Any]:
    """Return the body of a request for a replay of the last day."""
    return {"since": (clock.now - DAY).isoformat(), **more}


async def test_a_delivery_can_be_redelivered_repeatedly(app: object, database: Database, settings: Settings) -> None:
    woken: list[str] = []
    work = api.Services(wake_targets=woken.extend)
    async with client_of(application(database, api.Current(settings, work))) as client:
        for _ in range(2):
            answer = await client.post("/v1/deliveries/2/redeliver")
            assert (answer.status_code, answer.json()["state"]) == (202, "pending")
            assert (answer.json()["attempts"], answer.json()["message_id"]) == (0, "msg_2_new")
        waiting = await client.post("/v1/deliveries/3/redeliver")
        assert (waiting.status_code, waiting.json()["attempts"]) == (202, 2), "it is on its way, and due now"
    assert woken == ["ops"] * 3


@pytest.mark.parametrize("number", [77, 0, 2**70])
async def test_redelivering_an_unknown_delivery_is_an_error(client: httpx.AsyncClient, number: int) -> None:
    answer = await client.post(f"/v1/deliveries/{number}/redeliver")
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    assert f"unknown delivery {number}" in answer.json()["detail"]


async def test_redelivering_to_a_target_that_is_no_longer_configured_is_an_error(
    client: httpx.AsyncClient, database: Database, clock: ManualClock
) -> None:
    old = sample_data.delivery(9, clock.now, target="old", state="dead", message_id="msg_1_new")
    database.write_now(sample_data.insert, schema.deliveries, old)
    answer = await client.post("/v1/deliveries/9/redeliver")
    assert answer.status_code == 422
    assert answer.json()["detail"] == 'the target "old" is no longer configured'


async def test_a_replay_is_created_shown_and_cancelled(
    app: object, database: Database, settings: Settings, clock: ManualClock
) -> None:
    woken: list[str] = []
    work = api.Services(wake_replays=lambda: woken.append("replays"))
    async with client_of(application(database, api.Current(settings, work))) as client:
        answer = await client.post("/v1/replays", json=since(clock, state="dead", target="ops"))
        replay = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/replays/{replay['id']}")
        assert (replay["state"], replay["total"], replay["taken"], replay["skipped"]) == ("running", 1, 0, None)
        assert replay["filters"] == {
            "since": "2026-11-22T10:00:00Z",
            "until": "2026-11-23T10:00:00Z",
            "trigger": None,
            "target": "ops",
            "state": "dead",
        }
        database.write_now(replays.advance, clock.advance(1))
        (has_more,) = (await client.get("/v1/status")).json()["replays"]
        assert (has_more["id"], has_more["taken"], has_more["pending"]) == (replay["id"], 1, 1)
        _, ops = (await client.get("/v1/targets")).json()["items"]
        assert (ops["pending"], ops["replayed"]) == (3, 1)
        for _ in range(2):
            answer = await client.post(f"/v1/replays/{replay['id']}/cancel")
            assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert (await client.get(answer.request.url.path.removesuffix("/cancel"))).json() == answer.json()
        assert (await client.get("/v1/replays")).json() == {"items": [answer.json()], "next": None}
    assert woken == ["replays"] * 3


async def test_a_dry_run_counts_what_a_replay_would_send_and_creates_nothing(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    answer = await client.post("/v1/replays?dry_run=true", json=since(clock, target="ops"))
    assert (answer.status_code, answer.json()) == (200, {"events": 1, "deliveries": 1, "pending": 2})
    assert (await client.get("/v1/replays")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"since": "2026-11-22T10:00:00Z", "target": "opps"}, 'body.target: unknown target (did you mean "ops"?)'),
        ({"since": "2026-11-22T10:00:00Z", "trigger": "nwe"}, 'body.trigger: unknown trigger (did you mean "new"?)'),
        ({"since": "2026-11-22T10:00:00Z", "until": "2026-11-21T10:00:00Z"}, "body.until: must not be before since"),
        ({"since": "2026-11-22T10:00:00Z", "state": "pending"}, "body.state: "),
        ({"since": "2026-11-22T10:00:00"}, "body.since: "),
        ({"until": "2026-11-22T10:00:00Z"}, "body.since: Field required"),
        ({"since": "2026-11-22T10:00:00Z", "limit": 5}, "body.limit: unknown parameter"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since and until must be between the years 1970 and 2999"),
        ({"since": "2026-11-22T10:00:00Z", "until": "9999-12-31T23:59:59-14:00"}, "between the years 1970 and 2999"),
    ],
)
async def test_an_invalid_replay_is_answered_with_a_problem_and_not_created(
    client: httpx.AsyncClient, body: dict[str, Any], detail: str
) -> None:
    answer = await client.post("/v1/replays", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert detail in answer.json()["detail"]
    assert (await client.get("/v1/replays")).json()["items"] == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/replays/7"), ("POST", "/v1/replays/7/cancel")])
async def test_an_unknown_replay_is_answered_with_a_problem(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["detail"]) == (404, "unknown replay 7 (it may have been pruned)")


async def test_a_target_is_paused_and_resumed(app: object, database: Database, settings: Settings) -> None:
    woken: list[str] = []
    work = api.Services(wake_targets=woken.extend)
    async with client_of(application(database, api.Current(settings, work))) as client:
        first, again = [await client.post("/v1/targets/ops/pause") for _ in range(2)]
        paused = first.json()
        assert (paused["health"], paused["paused"], paused["paused_reason"]) == ("paused", True, "paused by hand")
        assert (first.status_code, again.json()) == (200, paused)
        assert paused["pending"] == 2, "what is for it waits"
        resumed = (await client.post("/v1/targets/ops/resume")).json()
        assert (resumed["paused"], resumed["paused_at"], resumed["paused_reason"]) == (False, None, None)
        assert resumed["failing_since"] is not None
        assert resumed["failing_since"] == paused["failing_since"], "until it accepts a message"
        assert woken == ["ops"]
        missing = await client.post("/v1/targets/opps/pause")
        assert (missing.status_code, missing.json()["detail"]) == (
            404,
            'unknown target "opps" (did you mean "ops"?)',
        )


async def test_deliveries_of_action_results_are_listed_under_their_incident_with_their_type(
    client: httpx.AsyncClient, database: Database, clock: ManualClock
) -> None:
    of_action = {"id": "msg_a", "event_seq": 0, "trigger": "", "created_at": clock.now, "action_id": "act_2"}
    database.write_now(sample_data.insert, schema.messages, of_action | {"type": "action.failed"})
    database.write_now(sample_data.insert, schema.deliveries, sample_data.delivery(9, clock.now, message_id="msg_a"))
    items = (await client.get("/v1/deliveries?incident=P2")).json()["items"]
    assert [(each["id"], each["type"]) for each in items] == [(2, "incident.triggered"), (9, "action.failed")]
    assert isinstance(database.read_now(replay_list.read), paging.Page)
