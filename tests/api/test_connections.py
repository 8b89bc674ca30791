"""The pick-lists: asked of PagerDuty, within the budget, and with an answer in any case."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from daemon import pagerduty
from daemon.actions import objects
from daemon.model import CallPriority
from daemon.pagerduty.permits import Permits
from daemon.simulator import Fault
from daemon.storage import schema
from tests.api.action_api import opened

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Connection, Settings
    from daemon.storage.database import Database
    from tests.api.action_api import ActionApi
    from tests.conftest import ManualClock

LISTS = ("incidents", "users", "escalation_policies")


async def pick_list(action_api: ActionApi, kind: str, query: str | None = None) -> list[dict[str, Any]]:
    """Return the items of a pick-list."""
    answer = await action_api.http.get(f"/v1/connections/acme/{kind}", params={} if query is None else {"query": query})
    assert (answer.status_code, answer.json()["next"]) == (200, None)
    items: list[dict[str, Any]] = answer.json()[kind]
    return items


async def test_incidents_lists_the_open_incidents_newest_first(action_api: ActionApi, clock: ManualClock) -> None:
    first = action_api.incident()
    clock.advance(60)
    second = action_api.account.trigger(
        "Certificate expired", service=action_api.account.directory.services[1], urgency="low"
    )
    done = action_api.incident()
    action_api.account.resolve(done.id, action_api.account.directory.user("alice"))
    items = await pick_list(action_api, "incidents")
    assert [each["id"] for each in items] == [second.id, first.id]
    assert (items[0]["status"], items[0]["urgency"], items[0]["service"]) == (
        "triggered",
        "low",
        action_api.account.directory.services[1].name,
    )
    assert items[0]["assignees"]
    assert "Certificate expired" in items[0]["summary"]
    assert items[0]["html_url"].startswith("http")
    assert set(items[0]) == set(objects.incident({})) | {"service", "assignees"}, "the connector's Incident"
    assert items[0]["assignedUserId"] is not None
    assert items[0]["escalation_policy"]["id"] == action_api.account.directory.policies[1].id
    assert [each["id"] for each in await pick_list(action_api, "incidents", "CERTIFICATE")] == [second.id]
    assert await pick_list(action_api, "incidents", "nothing like it") == []


async def test_users_and_policies_can_be_searched(action_api: ActionApi) -> None:
    alice = action_api.account.directory.user("alice")
    (items,) = await pick_list(action_api, "users", "alice")
    assert (items["id"], items["name"], items["email"]) == (alice.id, alice.name, alice.email)
    assert set(items) == set(objects.user({})) | {"html_url"}, "the connector's User"
    assert (items["role"], items["time_zone"], items["billed"]) == ("user", "Etc/UTC", True)
    assert len(await pick_list(action_api, "users")) == len(action_api.account.directory.users)
    policies = await pick_list(action_api, "escalation_policies")
    assert [each["id"] for each in policies] == [each.id for each in action_api.account.directory.policies]
    (one,) = await pick_list(action_api, "escalation_policies", policies[0]["name"])
    assert set(one) == {"id", "name", "html_url"}


async def test_a_pick_list_costs_one_call_of_the_shared_budget(action_api: ActionApi) -> None:
    for kind in LISTS:
        await pick_list(action_api, kind)
    assert len(action_api.simulator.calls) == 3
    permits = action_api.database.read_now(lambda tx: list(tx.execute(schema.permits.select())))
    assert [each.priority for each in permits] == [CallPriority.ACTION] * 3


@pytest.mark.parametrize("kind", LISTS)
async def test_an_unknown_connection_is_404_and_suggests_the_nearest_name(action_api: ActionApi, kind: str) -> None:
    answer = await action_api.http.get(f"/v1/connections/acne/{kind}")
    assert answer.status_code == 404
    assert 'did you mean "acme"?' in answer.json()["detail"]


@pytest.mark.parametrize("query", [{"query": "x" * 256}, {"limit": "5"}])
async def test_an_invalid_query_is_422_and_makes_no_call(action_api: ActionApi, query: dict[str, str]) -> None:
    answer = await action_api.http.get("/v1/connections/acme/users", params=query)
    assert (answer.status_code, action_api.simulator.calls) == (422, [])


@pytest.mark.parametrize(
    ("fault", "status", "detail", "retry_after"),
    [
        (Fault.SERVER_ERROR, 502, "answered /users with 50", None),
        (Fault.NOT_JSON, 502, "other than a JSON object", None),
        (Fault.RATE_LIMITED, 503, "Rate Limit Exceeded", "1"),
        (Fault.RATE_LIMITED_BARE, 503, "answered /users with 429", None),
        (Fault.RESET, 504, "broke during the call (", None),
        (Fault.CUT, 504, "broke during the call (", None),
    ],
)
async def test_a_failure_of_pagerduty_is_answered_with_a_problem_that_says_why(
    action_api: ActionApi, fault: Fault, status: int, detail: str, retry_after: str | None
) -> None:
    action_api.simulator.faults.once(fault)
    answer = await action_api.http.get("/v1/connections/acme/users")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert detail in answer.json()["detail"]
    assert answer.headers.get("retry-after") == retry_after


async def test_an_api_key_that_pagerduty_rejects_is_502_with_a_remedy(
    action_api: ActionApi, database: Database
) -> None:
    rejected = replace(action_api.settings.connections["acme"], api_key=SecretStr("canary-key"))
    client = pagerduty.Client(rejected, Permits(database, "acme", rejected.limits, "one"))
    action_api.work.clients["acme"] = client  # type: ignore[index]
    answer = await action_api.http.get("/v1/connections/acme/users")
    await client.close()
    assert answer.status_code == 502
    assert "check api_key and region" in answer.json()["detail"]
    assert "canary" not in answer.text


async def test_a_pick_list_is_504_when_pagerduty_times_out(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    async with opened(database, clock, tmp_path, patience=timedelta(milliseconds=100)) as action_api:
        action_api.simulator.faults.set({Fault.SLOW: 1.0})
        answer = await action_api.http.get("/v1/connections/acme/users")
    assert (answer.status_code, answer.json()["detail"]) == (504, "PagerDuty did not respond within 0.1 s")


def _tight(settings: Settings) -> Settings:
    """With a budget of two calls."""
    acme = settings.connections["acme"]
    changed: Connection = replace(acme, limits=replace(acme.limits, calls=2))
    return replace(settings, connections={"acme": changed})


async def test_an_exhausted_budget_is_503(database: Database, clock: ManualClock, tmp_path: Path) -> None:
    patience = timedelta(milliseconds=300)
    async with opened(database, clock, tmp_path, patience=patience, settle=_tight) as action_api:
        for _ in range(2):
            database.write_now(lambda tx: tx.execute(schema.permits.insert().values(_permit(clock))) and None)
        answer = await action_api.http.get("/v1/connections/acme/users")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the call budget of connection acme is used up at the moment"


def _permit(clock: ManualClock) -> dict[str, object]:
    return {"connection": "acme", "at": clock.now, "priority": 1}


async def test_a_connection_blocked_by_pagerduty_says_for_how_long(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    async with opened(database, clock, tmp_path, patience=timedelta(milliseconds=100)) as action_api:
        until = clock.now + timedelta(seconds=90)
        stopped = schema.connections.update().values(blocked_until=until)
        database.write_now(lambda tx: tx.execute(stopped) and None)
        answer = await action_api.http.get("/v1/connections/acme/users")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "90")
    assert "is rate-limited by PagerDuty" in answer.json()["detail"]
