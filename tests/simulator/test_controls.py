"""The simulator's own paths: inspecting an account, and making changes in it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from daemon import detection, triggers
from daemon.model import DetectedBy, LogEntry
from daemon.pagerduty import records
from daemon.simulator import Account, Simulator, controls
from tests.conftest import START
from tests.simulator.library import KEY, Sdk, log, types

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock

HOUR = timedelta(hours=1)


def happen(http: httpx.Client, **asked: Any) -> Any:
    """Make a change; return the response."""
    answer = http.post("/simulator/happen", json=asked)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_commanded_change_appears_in_the_log(account: Account, http: httpx.Client, sdk: Sdk) -> None:
    incident = happen(http, do="trigger", title="Disk full", key="disk", urgency="low")["incident_id"]
    assert account.incidents[incident].urgency == "low"
    assert account.incidents[incident].key == "disk"
    steps: list[dict[str, Any]] = [
        {"do": "retrigger"},
        {"do": "acknowledge", "by": "alice"},
        {"do": "annotate", "by": "bob", "note": "Looking into it."},
        {"do": "unacknowledge"},
        {"do": "escalate"},
        {"do": "repeat_escalation"},
        {"do": "exhaust_escalation"},
        {"do": "snooze", "duration": 600},
        {"do": "retitle", "title": "Disk is full"},
        {"do": "change_urgency"},
        {"do": "change_priority", "priority": "P2"},
        {"do": "change_field", "name": "region", "value": "eu"},
        {"do": "reassign", "to": "dan@example.com"},
        {"do": "delegate", "to": ["erin"]},
        {"do": "resolve", "by": "erin", "note": "Space is back."},
        {"do": "reopen", "incident": incident},
    ]
    seen = []
    for step in steps:
        before = len(account.log.entries)
        assert happen(http, **step) == {"incident_id": incident}
        seen.append(types(log(sdk)[before:])[-1])
    assert seen == [
        "trigger",
        "acknowledge",
        "annotate",
        "unacknowledge",
        "escalate",
        "repeat_escalation_path",
        "exhaust_escalation_path",
        "snooze",
        "field_value_change",
        "urgency_change",
        "priority_change",
        "custom_field_value_change",
        "assign",
        "assign",
        "resolve",
        "assign",
    ]
    now = account.incidents[incident]
    assert (now.title, now.urgency, now.fields) == ("Disk is full", "high", {"region": "eu"})
    assert now.priority is account.directory.priorities[1]
    changes = [(each.type.partition(".")[2], each.users, each.note) for each in account.log.ledger]
    erin = account.directory.user("erin")
    assert ("annotated", (), "Looking into it.") in changes
    assert ("annotated", (), "Space is back.") in changes
    assert ("assigned", (erin.id,), None) in changes


@pytest.mark.parametrize("verb", [name for name, (verb, _) in triggers.VERBS.items() if verb.log_entry])
def test_every_verb_of_an_event_type_writes_an_entry_of_that_type(
    account: Account, incident: Incident, http: httpx.Client, sdk: Sdk, verb: str
) -> None:
    assert happen(http, do=verb) == {"incident_id": incident.id}
    kind = account.log.ledger[-1].type
    assert kind == triggers.VERBS[verb][1].name
    record = log(sdk)[-1]
    assert triggers.BY_LOG_ENTRY[record["type"]].name == kind
    entry = records.log_entry(record)
    assert isinstance(entry, LogEntry)
    detected = detection.read("acme", {}, [entry], (), history=START - HOUR, read_at=START, now=START).events
    sample = triggers.VERBS[verb][1].sample.changes
    assert [each.type for each in detected] == [kind]
    assert (detected[0].payload["changes"] or {}).keys() == (sample or {}).keys()


@pytest.mark.parametrize("verb", [name for name, (verb, _) in triggers.VERBS.items() if not verb.log_entry])
def test_reconciliation_finds_every_change_without_an_entry(
    account: Account, incident: Incident, http: httpx.Client, sdk: Sdk, clock: ManualClock, verb: str
) -> None:
    if verb == "reply":
        happen(http, do="add_responder")
    entries = len(log(sdk))
    listed = {"include[]": "conference_bridge"}
    before = {"conference_bridge": None} | http.get(f"/incidents/{incident.id}", params=listed).json()["incident"]
    clock.advance(60)
    assert happen(http, do=verb) == {"incident_id": incident.id}
    after = http.get(f"/incidents/{incident.id}", params=listed).json()["incident"]
    kind = triggers.VERBS[verb][1]
    assert len(log(sdk)) == entries
    assert (account.log.ledger[-1].type, account.log.ledger[-1].entry_id) == (kind.name, "")
    known = detection.reconcile("acme", {}, [(incident.id, before)], **at(clock))
    detected = detection.reconcile(
        "acme", {known.snapshots[0].incident_id: known.snapshots[0]}, [(incident.id, after)], **at(clock)
    )
    assert [(each.type, each.detected_by) for each in detected.events] == [(kind.name, DetectedBy.RECONCILIATION)]
    assert detected.events[0].payload["changes"].keys() == (kind.sample.changes or {}).keys()


def at(clock: ManualClock) -> Any:
    """Return the times of a reconciliation that treats everything before as history."""
    return {"history": clock(), "settled": clock(), "read_at": clock(), "now": clock()}


def test_verbs_apply_to_the_newest_open_incident_unless_another_is_named(account: Account, http: httpx.Client) -> None:
    first, second = account.trigger("Disk full").id, account.trigger("Login is slow").id
    assert happen(http, do="resolve") == {"incident_id": second}
    assert happen(http, do="annotate", incident=second) == {"incident_id": second}
    assert happen(http, do="resolve") == {"incident_id": first}
    refused = http.post("/simulator/happen", json={"do": "resolve"})
    assert (refused.status_code, refused.json()["error"]) == (
        404,
        "unknown incident, or no open one: there is none",
    )


def test_incidents_merge_into_the_newest_other_one_and_a_new_one_belongs_to_the_named_service(
    account: Account, http: httpx.Client
) -> None:
    first, second = (happen(http, do="trigger", service=name)["incident_id"] for name in ("Billing", "Login"))
    assert [account.incidents[each].service.name for each in (first, second)] == ["Billing", "Login"]
    assert happen(http, do="merge") == {"incident_id": second}
    assert account.incidents[second].merged_into is account.incidents[first]


@pytest.mark.parametrize(
    ("asked", "error", "known"),
    [
        ({"do": "explode"}, "unknown do: explode", ["trigger", *controls.VERBS]),
        ({}, "unknown do: None", ["trigger", *controls.VERBS]),
        ({"do": "resolve", "by": "zoe"}, "unknown user: zoe", ["alice@example.com", "bob@example.com"]),
        ({"do": "trigger", "service": "x"}, "unknown service: x", ["Checkout"]),
        ({"do": "change_priority", "priority": "P9"}, "unknown priority: P9", ["P1", "P2", "P3"]),
        ({"do": "snooze", "seconds": 5}, "snooze does not take seconds, only incident, by, duration", []),
        ({"do": "trigger", "titel": "x"}, "trigger does not take titel, only title, urgency, key, service", []),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(
    incident: Incident, http: httpx.Client, asked: dict[str, Any], error: str, known: list[str]
) -> None:
    answer = http.post("/simulator/happen", json=asked).json()
    assert answer["error"] == error
    assert set(known) <= set(answer.get("known", []))


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"{}", 404),
        (b'{"do": "explode"}', 404),
        (b'{"do": "resolve", "incident": "PNONE"}', 404),
        (b'{"do": "resolve", "by": "zoe"}', 404),
        (b'{"do": ["resolve"]}', 400),
        (b"[]", 400),
        (b"{", 400),
    ],
)
def test_an_impossible_change_is_refused_and_has_no_effect(
    account: Account, incident: Incident, http: httpx.Client, asked: bytes, status: int
) -> None:
    before = len(account.log.entries)
    answer = http.post("/simulator/happen", content=asked)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert len(account.log.entries) == before


def test_ledger_and_calls_can_be_read_without_a_key(
    account: Account, incident: Incident, http: httpx.Client, url: str
) -> None:
    http.get("/incidents", params={"statuses[]": "triggered"})
    assert httpx.get(f"{url}/incidents", trust_env=False).status_code == 401
    seen: Any = httpx.get(f"{url}/simulator/ledger", trust_env=False).json()["ledger"]
    assert [(each["type"], each["incident_id"]) for each in seen] == [
        ("incident.triggered", incident.id),
        ("incident.assigned", incident.id),
    ]
    (call,) = httpx.get(f"{url}/simulator/calls", trust_env=False).json()["calls"]
    assert call["query"] == [["statuses[]", "triggered"]]
    assert (call["account"], call["method"], call["path"], call["status"]) == ("acme", "GET", "/incidents", 200)
    assert KEY not in json.dumps(call)


def test_faults_can_be_set_over_http(http: httpx.Client) -> None:
    known = http.post("/simulator/faults", json={"rates": {"server_error": 1}, "once": ["rate_limited"]}).json()
    assert "shift" in known["faults"]
    assert [http.get("/users").status_code == 429, http.get("/users").status_code >= 500] == [True, True]
    http.post("/simulator/faults", json={})
    assert http.get("/users").status_code == 200
    for faults in ({"once": ["shift"]}, {"once": ["earthquake"]}, {"rates": {"slow": "often"}}, {"rates": 7}):
        assert http.post("/simulator/faults", json=faults).status_code == 400


def test_an_unknown_path_is_refused_with_the_known_ones(http: httpx.Client) -> None:
    answer = http.get("/simulator/nothing")
    assert answer.status_code == 404
    assert "GET /simulator/ledger" in answer.json()["known"]


def test_accounts_on_one_address_are_isolated(clock: ManualClock, portal: BlockingPortal) -> None:
    one, two = (Account(name, f"key-{name}", clock=clock, seed=3) for name in ("one", "two"))
    one.trigger("Disk full")
    with portal.wrap_async_context_manager(Simulator([one, two]).serving()) as url:
        listed = [
            httpx.get(f"{url}/incidents", headers={"Authorization": f"Token token={key}"}, trust_env=False).json()
            for key in ("key-one", "key-two")
        ]
        assert [len(each["incidents"]) for each in listed] == [1, 0]
        ledger = httpx.get(f"{url}/simulator/ledger", params={"account": "two"}, trust_env=False)
        assert ledger.json() == {"ledger": []}
        assert httpx.get(f"{url}/simulator/ledger", params={"account": "x"}, trust_env=False).status_code == 404
    assert {user.id for user in one.directory.users}.isdisjoint(user.id for user in two.directory.users)
