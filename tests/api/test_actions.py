"""Asking for actions: what is queued, and what is refused with nothing queued."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from daemon import actions, api
from daemon.api.request_limits import LARGEST_BODY
from daemon.model import MASK
from daemon.storage import schema
from tests.api.action_api import opened
from tests.api.client import client_of
from tests.harness import sample_data

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from daemon.storage.database import Database
    from tests.api.action_api import ActionApi
    from tests.conftest import ManualClock

SERVICE_KEY = "canary-service-key-000000000000"


async def test_an_action_is_queued_and_its_executor_is_woken(action_api: ActionApi) -> None:
    answer = await action_api.ask("SnoozeIncident", incidentId="P1", userId="PALICE", duration=60)
    assert answer.status_code == 202
    item = answer.json()
    assert answer.headers["location"] == f"/v1/actions/{item['id']}"
    assert (item["operation"], item["connection"], item["state"]) == ("SnoozeIncident", "acme", "queued")
    assert item["parameters"] == {"incidentId": "P1", "userId": "PALICE", "duration": 60}
    assert action_api.woken == ["acme"]
    assert await action_api.queued() == [item]
    assert (await action_api.http.get(answer.headers["location"])).json() == item


@pytest.mark.parametrize(
    ("notify", "notified"),
    [({}, ["ops"]), ({"notify": None}, ["ops"]), ({"notify": []}, []), ({"notify": ["chat", "chat"]}, ["chat"])],
)
async def test_the_outcome_goes_to_the_targets_of_the_request_or_else_of_the_configuration(
    action_api: ActionApi, notify: dict[str, Any], notified: list[str]
) -> None:
    assert (await action_api.ask(**notify)).json()["notify"] == notified


async def test_every_operation_of_the_registry_has_a_route(action_api: ActionApi) -> None:
    known: dict[str, Any] = {"incidentId": "P1", "userId": "P2", "incident_key": "k", "note": "n", "duration": 5}
    known |= {"reassignUserId": "P3", "policyId": "P4", "service_key": "s", "description": "d"}
    for name, operation in actions.REGISTRY.items():
        answer = await action_api.ask(name, **{each: known[each] for each in operation.parameters.model_fields})
        assert (answer.status_code, answer.json()["operation"]) == (202, name)


async def test_an_unknown_operation_is_answered_with_the_nearest_name(action_api: ActionApi) -> None:
    near, far = await action_api.ask("AcknowledgeIncidents"), await action_api.ask("x")
    assert (near.status_code, far.status_code) == (404, 404)
    assert 'did you mean "AcknowledgeIncident"?' in near.json()["detail"]
    assert "known: GetIncidentByKey, GetUser" in far.json()["detail"]


REFUSED: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("AcknowledgeIncident", {}, [("body.parameters", "Field required")]),
    (
        "AcknowledgeIncident",
        {"parameters": {"incidentid": "P1", "userId": 5}},
        [
            ("body.parameters.incidentId", "is required"),
            ("body.parameters.userId", "must be text"),
            ("body.parameters.incidentid", 'is not a parameter (did you mean "incidentId"?)'),
        ],
    ),
    (
        "SnoozeIncident",
        {
            "parameters": {"incidentId": "", "userId": "a b", "duration": 604_801},
            "notify": ["op"],
            "connection": "acne",
        },
        [
            ("body.connection", 'unknown connection (did you mean "acme"?)'),
            ("body.notify.0", 'unknown target (did you mean "ops"?)'),
            ("body.parameters.incidentId", "must not be empty"),
            (
                "body.parameters.userId",
                "must be a user's id such as PXPGF42, not an e-mail address (list: pagerelay users)",
            ),
            ("body.parameters.duration", "must be a whole number from 1 to 604800"),
        ],
    ),
    ("GetUser", {"parameters": {"userId": "P1"}, "notify": ["nobody"]}, [("body.notify.0", "unknown target")]),
    (
        "GetUser",
        {"parameters": {"userId": "P1"}, "notify": ["ops", "v3"]},
        [("body.notify.1", "uses format pagerduty-v3, which has no payload for action results")],
    ),
    ("GetUser", {"parameters": {"userId": "P1"}, "key": "x"}, [("body.key", "unknown parameter")]),
    ("GetUser", {"parameters": {"userId": "P1"}, "connection": 5}, [("body.connection", "should be a valid string")]),
    ("GetUser", {"parameters": []}, [("body.parameters", "should be a valid dictionary")]),
]


@pytest.mark.parametrize(("operation", "body", "mistakes"), REFUSED)
async def test_every_mistake_of_an_invalid_request_is_reported_and_nothing_is_queued(
    action_api: ActionApi, operation: str, body: dict[str, Any], mistakes: list[tuple[str, str]]
) -> None:
    answer = await action_api.http.post(f"/v1/actions/{operation}", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()["errors"]
    assert [each["where"] for each in told] == [where for where, _ in mistakes]
    assert [what for (_, what), each in zip(mistakes, told, strict=True) if what not in each["message"]] == []
    assert (await action_api.queued(), action_api.woken) == ([], [])


@pytest.mark.parametrize("wait", ["-1", "60.1", "nan", "inf", "soon", ""])
async def test_an_invalid_wait_is_rejected(action_api: ActionApi, wait: str) -> None:
    answer = await action_api.ask(wait=wait)
    assert (answer.status_code, await action_api.queued()) == (422, [])
    assert answer.json()["errors"][0]["where"] == "query.wait"


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "schlüssel".encode("latin-1")])
async def test_an_invalid_idempotency_key_is_rejected(action_api: ActionApi, key: str | bytes) -> None:
    headers = [(b"idempotency-key", key if isinstance(key, bytes) else key.encode())]
    body = {"parameters": {"userId": "P1"}}
    answer = await action_api.http.post("/v1/actions/GetUser", json=body, headers=headers)
    assert (answer.status_code, await action_api.queued()) == (422, [])
    assert answer.json()["errors"][0]["where"] == "header.Idempotency-Key"


async def test_with_several_connections_the_connection_is_required(client: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {"parameters": {"userId": "P1"}}
    answer = await client.post("/v1/actions/GetUser", json=body)
    assert answer.json()["errors"] == [{"where": "body.connection", "message": "is required (known: acme, beta)"}]
    assert (await client.post("/v1/actions/GetUser", json=body | {"connection": "beta"})).status_code == 202


# --- the idempotency key


async def test_the_same_key_and_request_return_the_same_action_and_200_after_its_end(action_api: ActionApi) -> None:
    first = await action_api.ask("GetUser", key="once", userId=action_api.alice)
    second = await action_api.ask("GetUser", key="once", userId=action_api.alice)
    assert (first.status_code, second.status_code) == (202, 202)
    async with action_api.executing():
        third = await action_api.ask("GetUser", key="once", userId=action_api.alice, wait=10)
    fourth = await action_api.ask("GetUser", key="once", userId=action_api.alice)
    assert (third.status_code, fourth.status_code) == (200, 200)
    assert fourth.json()["result"]["id"] == action_api.alice
    assert {each.json()["id"] for each in (first, second, third, fourth)} == {first.json()["id"]}
    assert len(await action_api.queued()) == 1


@pytest.mark.parametrize(
    ("operation", "other"),
    [
        ("GetUser", {"userId": "P2"}),
        ("GetUser", {"userId": "P1", "notify": []}),
        ("GetIncidentByKey", {"incident_key": "k"}),
    ],
)
async def test_the_same_key_with_another_request_is_a_conflict(
    action_api: ActionApi, operation: str, other: dict[str, Any]
) -> None:
    await action_api.ask("GetUser", key="once", userId="P1")
    answer = await action_api.ask(operation, key="once", **other)
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert "with another request" in answer.json()["detail"]
    assert len(await action_api.queued()) == 1


async def test_simultaneous_requests_with_one_key_create_one_action(action_api: ActionApi) -> None:
    answers = await asyncio.gather(*(action_api.ask("GetUser", key="once", userId="P1") for _ in range(20)))
    assert {each.status_code for each in answers} == {202}
    assert len({each.json()["id"] for each in answers}) == 1
    assert len(await action_api.queued()) == 1


async def test_a_request_repeated_after_a_crash_before_the_response_creates_one_action(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    class KilledError(BaseException):
        pass

    dying = True

    def wake(_connection: str) -> None:
        if dying:
            raise KilledError

    async with opened(database, clock, tmp_path, wake=wake) as action_api:
        with pytest.raises(KilledError):
            await action_api.ask("GetUser", key="once", userId=action_api.alice)
        dying = False
        async with client_of(
            api.create(database, api.Current(action_api.settings, action_api.work))
        ) as action_api.http:  # it was started again
            async with action_api.executing():
                answer = await action_api.ask("GetUser", key="once", userId=action_api.alice, wait=10)
            assert (answer.status_code, answer.json()["state"]) == (200, "succeeded")
            assert [each["id"] for each in await action_api.queued()] == [answer.json()["id"]]


# --- bodies that are made to hurt

DEEP = "[" * 30_000 + "]" * 30_000
HURTING: dict[str, tuple[bytes, int]] = {
    "deep": (DEEP.encode(), 400),
    "deep in a parameter": (b'{"parameters": {"userId": %s}}' % DEEP.encode(), 400),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "no JSON": (b"{", 422),
    "nothing": (b"", 422),
    "not UTF-8": (b'{"parameters": {"userId": "\xff"}}', 400),
    "a list": (b"[]", 422),
    "not a number": (b'{"parameters": {"userId": NaN}}', 422),
    "half a character": (b'{"parameters": {"userId": "\\ud800"}}', 422),
    "half a character for a name": (b'{"parameters": {"\\ud800": 1}}', 422),
    "half a character for a key": (b'{"\\ud800": 1}', 422),
    "half a character for a target": (b'{"parameters": {"userId": "P1"}, "notify": ["\\ud800"]}', 422),
    "an end of text": (b'{"parameters": {"userId": "P\\u0000"}}', 422),
    "a long name": (b'{"parameters": {"%s": 1}}' % (b"x" * 380_000), 422),
    "a long key": (b'{"%s": 1}' % (b"x" * 380_000), 422),
    "a long number": (b'{"parameters": {"userId": %s}}' % (b"9" * 380_000), 400),
    "a large number": (b'{"parameters": {"userId": 1e999}}', 422),
    "too much": (b'{"parameters": {"userId": "%s"}}' % (b"x" * LARGEST_BODY), 413),
}


@pytest.mark.parametrize("name", HURTING)
async def test_a_malicious_body_is_answered_with_a_short_problem(action_api: ActionApi, name: str) -> None:
    content, status = HURTING[name]
    answer = await action_api.http.post(
        "/v1/actions/GetUser", content=content, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert len(answer.content) < 1000
    assert await action_api.queued() == []


# --- looking at them


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("?state=queued", ["act_4", "act_5"]),
        ("?state=failed&connection=acme", ["act_2"]),
        ("?operation=CreateIncident", ["act_5"]),
        ("?incident=P3", ["act_3"]),
        ("?after=2&limit=2", ["act_3", "act_4"]),
    ],
)
async def test_actions_can_be_filtered(reader: httpx.AsyncClient, path: str, ids: list[str]) -> None:
    page = (await reader.get(f"/v1/actions{path}")).json()
    assert [each["id"] for each in page["items"]] == ids
    assert page["next"] == ("4" if "limit" in path else None)


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/act_9", 404, 'unknown action "act_9"'),
        ("/act%00", 404, 'unknown action "act\ufffd"'),
        ("?operation=GetUsers", 422, 'unknown operation "GetUsers" (did you mean "GetUser"?)'),
        ("?state=dead", 422, "query.state"),
        ("?connection=acne", 422, 'did you mean "acme"?'),
        ("?trigger=new", 422, "query.trigger: unknown parameter"),
        ("?after=act_1", 422, 'invalid cursor in "after"'),
    ],
)
async def test_an_invalid_request_is_answered_with_a_problem_document(
    reader: httpx.AsyncClient, path: str, status: int, detail: str
) -> None:
    answer = await reader.get(f"/v1/actions{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert detail in answer.json()["detail"]


async def test_an_action_shows_its_error_and_the_time_of_its_next_attempt(reader: httpx.AsyncClient) -> None:
    item = (await reader.get("/v1/actions/act_4")).json()
    assert item["error"] == {
        "code": "temporary",
        "message": "api answered 503",
        "status": 503,
        "pagerduty_code": None,
    }
    assert item["next_try_at"] == "2026-11-23T10:00:10Z"


# --- who may, and what is never shown


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_no_action_is_accepted_without_the_token(action_api: ActionApi, token: str | None) -> None:
    async with client_of(action_api.app, token=token) as stranger:
        answers = [
            await stranger.post("/v1/actions/GetUser", json={"parameters": {"userId": "P1"}}),
            await stranger.post("/v1/actions/GetNothing", json={}),
            await stranger.get("/v1/actions"),
            await stranger.get("/v1/actions/act_1"),
            await stranger.get("/v1/connections/acme/users"),
            await stranger.get("/v1/connections/nothing/users"),
        ]
    assert {each.status_code for each in answers} == {401}
    assert await action_api.queued() == []
    assert action_api.simulator.calls == []


async def test_a_routing_key_is_in_no_response_no_log_and_after_the_end_not_in_the_database(
    action_api: ActionApi,
) -> None:
    parameters = {"service_key": SERVICE_KEY, "description": "Disk full"}
    with structlog.testing.capture_logs() as lines:
        answers = [await action_api.ask("CreateIncident", key="once", **parameters)]
        answers += [await action_api.ask("CreateIncident", key="once", **parameters | {"description": "other"})]
        answers += [await action_api.ask("CreateIncident", **parameters | {"service_key": f"{SERVICE_KEY} "})]
        answers += [await action_api.ask("CreateIncident", **parameters | {"service_Key": SERVICE_KEY})]
        answers += [await action_api.ask("GetUser", **parameters)]
        assert [each.status_code for each in answers] == [202, 409, 422, 422, 422]
        assert SERVICE_KEY in action_api.raw()  # it is needed until the end
        answers += [await action_api.http.get(path) for path in ("/v1/actions", "/v1/status", "/metrics")]
        async with action_api.executing():
            ended = await action_api.ask("CreateIncident", key="once", **parameters, wait=10)
    answers += [ended, await action_api.http.get(ended.headers["location"])]
    assert ended.json()["state"] in {"succeeded", "failed"}
    assert ended.json()["parameters"] == {"service_key": MASK, "description": "Disk full"}
    assert [each.text for each in answers if SERVICE_KEY in each.text] == []
    assert SERVICE_KEY not in repr(lines)
    assert SERVICE_KEY not in action_api.raw()


async def test_an_unexpected_error_shows_nothing_of_the_request(action_api: ActionApi) -> None:
    action_api.database.write_now(schema.actions.drop)
    with structlog.testing.capture_logs() as lines:
        answer = await action_api.ask("CreateIncident", service_key=SERVICE_KEY, description=sample_data.HOSTILE)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert SERVICE_KEY not in answer.text + json.dumps(lines, default=repr)


@pytest.mark.parametrize("character", ["x", "漢", "\U0001f525", '"'])
async def test_the_longest_documented_note_is_accepted_in_any_script(action_api: ActionApi, character: str) -> None:
    body = {"parameters": {"incidentId": "P1", "note": character * 25_000, "userId": action_api.alice}}
    content = json.dumps(body, ensure_ascii=True)
    answer = await action_api.http.post(
        "/v1/actions/AddNoteToIncident", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 202, answer.text[:300]
