"""Cancelling queued actions, and repeating requests whose defaults have changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon import api
from daemon.storage import schema
from tests.api.client import client_of
from tests.harness.shared_application import application

if TYPE_CHECKING:
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from tests.api.action_api import ActionApi


async def test_a_queued_action_is_cancelled_and_its_targets_are_notified(action_api: ActionApi) -> None:
    item = (await action_api.ask("ResolveIncident", incidentId="P1", userId="PALICE")).json()
    answer = await action_api.http.post(f"/v1/actions/{item['id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "failed")
    assert answer.json()["error"] == {
        "code": "cancelled",
        "message": "cancelled while it was queued",
        "status": None,
        "pagerduty_code": None,
    }
    kinds = action_api.database.read_now(lambda tx: list(tx.execute(sa.select(schema.messages.c.type)).scalars()))
    assert kinds == ["action.failed"]


async def test_only_a_queued_action_can_be_cancelled(action_api: ActionApi) -> None:
    item = (await action_api.ask("ResolveIncident", incidentId="P1", userId="PALICE")).json()
    running = schema.actions.update().values(state="running", claimed_by="one")
    action_api.database.write_now(lambda tx: tx.execute(running) and None)
    answer = await action_api.http.post(f"/v1/actions/{item['id']}/cancel")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        f"the action {item['id']} is running: only a queued one can be cancelled",
    )
    assert (await action_api.http.post("/v1/actions/act_unknown/cancel")).status_code == 404


async def test_a_request_repeated_after_the_default_targets_changed_is_still_the_same(
    database: Database, settings: Settings
) -> None:
    request = {"connection": "acme", "parameters": {"incidentId": "P1", "userId": "PALICE"}}
    key = {"Idempotency-Key": "page-1"}
    path = "/v1/actions/ResolveIncident"
    ids = []
    for notify in (("ops",), ("chat",), ()):
        app = application(database, api.Current(replace(settings, actions_notify=notify)))
        async with client_of(app) as client:
            answer = await client.post(path, json=request, headers=key)
            ids.append(answer.json()["id"])
            assert answer.json()["notify"] == ["ops"], "as it was accepted"
            other = await client.post(path, json=request | {"notify": ["pager"]}, headers=key)
            assert other.status_code in (409, 422)
    assert len({*ids}) == 1


async def test_a_request_from_before_the_digest_left_out_the_default_is_recognised(action_api: ActionApi) -> None:
    body = {"connection": "acme", "parameters": {"incidentId": "P1", "userId": "PALICE"}, "notify": ["ops"]}
    key = {"Idempotency-Key": "page-2"}
    first = await action_api.http.post("/v1/actions/ResolveIncident", json=body, headers=key)
    del body["notify"]  # the digest of the stored request has the targets in it
    again = await action_api.http.post("/v1/actions/ResolveIncident", json=body, headers=key)
    assert again.json()["id"] == first.json()["id"]
