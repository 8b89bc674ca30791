"""The settings of an account, and arbitrary writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given

from daemon.simulator import Account, routes
from daemon.simulator.events_api import V1, V2, answer
from daemon.simulator.http import SimRequest
from daemon.simulator.quirks import Bulk, Habits, Repeat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.simulator.writing.client import Rest

SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
SAMPLE = Account()  # every account of the same name and seed has the same ids
INCIDENT = SAMPLE.trigger("Disk full").id
KNOWN = [SAMPLE.directory.users[1].id, *(each.id for each in SAMPLE.directory.policies)]
KINDS = ["user", "user_reference", "escalation_policy", "service"]
REFERENCE = st.fixed_dictionaries(
    {}, optional={"id": st.sampled_from(KNOWN) | ANYTHING, "type": st.sampled_from(KINDS) | ANYTHING}
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.just(INCIDENT) | ANYTHING,
    "type": st.sampled_from(["incident", "incident_reference"]) | ANYTHING,
    "status": st.sampled_from(["triggered", "acknowledged", "resolved"]) | ANYTHING,
    "title": ANYTHING,
    "urgency": st.sampled_from(["high", "low"]) | ANYTHING,
    "priority": st.sampled_from(["P1"]) | REFERENCE | ANYTHING,
    "resolution": ANYTHING,
    "escalation_level": st.integers(0, 4) | ANYTHING,
    "escalation_policy": REFERENCE | ANYTHING,
    "assignments": st.lists(st.fixed_dictionaries({"assignee": REFERENCE})) | ANYTHING,
}
UPDATE = st.fixed_dictionaries({}, optional=FIELDS)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "incident": UPDATE | ANYTHING,
        "incidents": st.lists(UPDATE, max_size=3) | ANYTHING,
        "note": st.fixed_dictionaries({"content": ANYTHING}) | ANYTHING,
        "duration": st.integers(-1, 700_000) | ANYTHING,
    },
)
EVENT = st.fixed_dictionaries(
    {},
    optional={
        "service_key": ANYTHING,
        "routing_key": ANYTHING,
        "event_type": st.sampled_from(["trigger", "resolve"]) | ANYTHING,
        "event_action": st.sampled_from(["trigger", "resolve"]) | ANYTHING,
        "incident_key": ANYTHING,
        "dedup_key": ANYTHING,
        "description": ANYTHING,
        "payload": st.fixed_dictionaries({"summary": ANYTHING, "source": ANYTHING, "severity": ANYTHING}) | ANYTHING,
    },
)


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """Yield a client without a key: the simulator's own paths need none."""
    with httpx.Client(base_url=url, trust_env=False, verify=False) as client:
        yield client


def test_quirks_and_the_kind_of_key_can_be_set_over_http(account: Account, http: httpx.Client, rest: Rest) -> None:
    asked = {"read_only": True, "habits": {"repeat": "silent", "bulk": "halfway", "note_status": 200}}
    shown = http.post("/simulator/account", json=asked).json()
    assert shown["read_only"] is True
    assert account.habits == Habits(repeat=Repeat.SILENT, bulk=Bulk.HALFWAY, note_status=200)
    assert rest.put("/incidents", json={}).status_code == 403
    shown = http.post("/simulator/account", json={"read_only": False, "habits": {"suppressed": True}}).json()
    assert (shown["read_only"], shown["habits"]["suppressed"], shown["habits"]["repeat"]) == (False, True, "silent")
    assert http.post("/simulator/account").json() == shown


def test_an_e_mail_address_can_be_changed_over_http(
    rest: Rest, http: httpx.Client, alice: User, incident: Incident
) -> None:
    assert http.post("/simulator/account", json={"emails": {"alice": "a.archer@example.com"}}).is_success
    assert rest.rget(f"/users/{alice.id}")["email"] == "a.archer@example.com"
    resolved = {"incident": {"type": "incident_reference", "status": "resolved"}}
    assert rest.put(f"/incidents/{incident.id}", json=resolved).json()["error"]["code"] == 1008
    rest.headers["From"] = "A.Archer@Example.com"
    assert rest.put(f"/incidents/{incident.id}", json=resolved).is_success


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"habits": {"repeat": "never"}}, 400),
        ({"habits": {"moody": True}}, 400),
        ({"habits": {"note_status": 204}}, 400),
        ({"habits": 7}, 400),
        ({"emails": {"zoe": "zoe@example.com"}}, 404),
        ([], 400),
    ],
)
def test_an_invalid_setting_is_refused(account: Account, http: httpx.Client, wrong: object, status: int) -> None:
    assert http.post("/simulator/account", json=wrong).status_code == status
    assert account.habits == Habits()


def test_a_second_acknowledgement_may_also_succeed(
    account: Account, rest: Rest, incident: Incident, alice: User
) -> None:
    account.habits.repeat = Repeat.RENEWED
    for status in ("acknowledged", "acknowledged", "resolved", "resolved"):
        asked = {"incident": {"type": "incident_reference", "status": status}}
        assert rest.put(f"/incidents/{incident.id}", json=asked).status_code == 200
    assert [each.what for each in account.effects] == ["acknowledge", "acknowledge", "resolve"]
    types = [each.type for each in account.log.entries]
    assert types.count("acknowledge_log_entry") == 2


@given(
    body=BODY | ANYTHING, bulk=st.sampled_from(Bulk), state=st.sampled_from(["triggered", "acknowledged", "resolved"])
)
def test_any_body_is_either_accepted_completely_or_refused_with_a_code(body: object, bulk: Bulk, state: str) -> None:
    account = Account()
    account.habits.bulk = bulk
    alice = account.directory.users[0]
    incident = account.trigger("Disk full")
    assert incident.id == INCIDENT
    if state != "triggered":
        account.acknowledge(incident.id, alice)
    if state == "resolved":
        account.resolve(incident.id)
    sent = orjson.dumps(body)
    path = f"/incidents/{incident.id}"
    for method, where in (("PUT", path), ("POST", f"{path}/notes"), ("POST", f"{path}/snooze"), ("PUT", "/incidents")):
        before = len(account.effects)
        answered = routes.answer(account, SimRequest(method, where, headers={"from": alice.email}, body=sent))
        types = orjson.loads(answered.body)
        if answered.status >= 400:
            assert types["error"]["code"] in {1001, 1002, 1003, 1006, 1007, 1011, 1012, 1013, 1014, 1015, 2001}
            assert len(account.effects) == before or bulk is Bulk.HALFWAY
        else:
            assert {"incident", "incidents", "note"} & set(types)


@given(body=EVENT | ANYTHING, path=st.sampled_from([V1, V2]))
def test_any_event_is_either_accepted_or_refused(body: Any, path: str) -> None:
    account = Account()
    if isinstance(body, dict):
        for name in {"service_key", "routing_key"} & set(body):
            body[name] = account.directory.services[0].key
    answered = answer([account], SimRequest("POST", path, body=orjson.dumps(body)))
    accepted = orjson.loads(answered.body)["status"] == "success"
    assert answered.status == ({V1: 200, V2: 202}[path] if accepted else 400)
    assert len(account.effects) <= accepted
