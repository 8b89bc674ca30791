"""PagerDuty's refusals: each error code once; a refused request changes nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from daemon.simulator.directory import Policy
from daemon.simulator.quirks import Repeat
from tests.simulator.writing.client import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.simulator import Account
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.simulator.writing.client import Rest

    Put = Callable[..., tuple[int, int]]

OTHER = {"id": "PNOBODY", "type": "user_reference"}


@pytest.fixture
def put(rest: Rest, incident: Incident, account: Account) -> Iterator[Put]:
    """Yield a function that makes a refused update and returns status and code. A refused update has no effect."""

    def refused(**fields: object) -> tuple[int, int]:
        asked = {"type": "incident_reference"} | fields
        before = dataclasses.asdict(incident), len(account.log.entries)
        answered = refusal(lambda: rest.rput(f"/incidents/{incident.id}", json={"incident": asked}))
        assert (dataclasses.asdict(incident), len(account.log.entries)) == before
        return answered

    yield refused
    assert not account.effects


def reference(identity: str, kind: str) -> dict[str, str]:
    return {"id": identity, "type": f"{kind}_reference"}


def test_code_1001_means_already_resolved(account: Account, put: Put, incident: Incident) -> None:
    account.resolve(incident.id)
    assert put(status="resolved") == (400, 1001)


def test_code_1002_means_already_acknowledged_by_the_same_requester(
    account: Account, put: Put, incident: Incident, alice: User
) -> None:
    account.acknowledge(incident.id, alice)
    assert put(status="acknowledged") == (400, 1002)


@pytest.mark.parametrize("status", ["resolved", "acknowledged"])
def test_setting_the_current_status_may_also_respond_200_without_effect(
    account: Account, rest: Rest, incident: Incident, alice: User, status: str
) -> None:
    account.habits.repeat = Repeat.SILENT
    account.acknowledge(incident.id, alice) if status == "acknowledged" else account.resolve(incident.id)
    entries = len(account.log.entries)
    answer = rest.put(f"/incidents/{incident.id}", json={"incident": {"type": "incident", "status": status}})
    assert (answer.status_code, answer.json()["incident"]["status"]) == (200, status)
    assert (len(account.log.entries), account.effects) == (entries, [])


def test_code_1003_means_an_unknown_status(put: Put) -> None:
    assert put(status="closed") == (400, 1003)
    assert put(status=7) == (400, 1003)
    assert put(status=["resolved"]) == (400, 1003)


def test_code_1006_means_escalating_a_resolved_incident_or_to_an_unknown_level(
    account: Account, put: Put, incident: Incident
) -> None:
    assert put(escalation_level=0) == (400, 1006)
    assert put(escalation_level=len(incident.policy.levels) + 1) == (400, 1006)
    account.resolve(incident.id)
    assert put(escalation_level=2) == (400, 1006)


def test_code_1007_means_an_unknown_assignee(put: Put, alice: User) -> None:
    assert put(assignments=[{"assignee": OTHER}]) == (400, 1007)
    assert put(assignments=[{"assignee": reference(alice.id, "user")}, {"assignee": OTHER}]) == (400, 1007)


def test_code_1008_means_an_unknown_requester(put: Put, rest: Rest, alice: User) -> None:
    alice.email = "alice.archer@example.com"  # she moved, the caller remembers the old one
    assert put(status="acknowledged") == (400, 1008)
    rest.headers["From"] = "nobody@example.com"
    assert put(status="acknowledged") == (400, 1008)
    del rest.headers["From"]
    assert put(status="acknowledged") == (400, 1008)


def test_a_missing_requester_may_also_be_code_2016(account: Account, put: Put, rest: Rest) -> None:
    account.habits.missing_from = 2016
    del rest.headers["From"]
    assert put(status="acknowledged") == (400, 2016)


def test_code_1011_means_reassigning_a_resolved_incident(
    account: Account, put: Put, incident: Incident, alice: User
) -> None:
    account.resolve(incident.id)
    assert put(assignments=[{"assignee": reference(alice.id, "user")}]) == (400, 1011)


def test_code_1014_means_an_unknown_escalation_policy(put: Put) -> None:
    assert put(escalation_policy=reference("PNONE", "escalation_policy")) == (400, 1014)


def test_code_1015_means_that_nobody_is_on_call(account: Account, put: Put, incident: Incident, alice: User) -> None:
    nobody = Policy("PEMPTY1", "Nobody", ((), ()))
    gap = Policy("PGAPS01", "With a gap", ((alice,), ()))
    account.directory.policies += (nobody, gap)
    assert put(escalation_policy=reference(nobody.id, "escalation_policy")) == (400, 1015)
    assert put(escalation_policy=reference(gap.id, "escalation_policy"), escalation_level=2) == (400, 1015)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "event"},
        {"type": None},
        {"type": ["incident"]},
        {"title": " "},
        {"title": 7},
        {"urgency": "severe"},
        {"urgency": ["high"]},
        {"priority": "P9"},
        {"priority": {"id": "PNONE", "type": "priority"}},
        {"status": "resolved", "resolution": ["gone"]},
        {"escalation_level": "2"},
        {"escalation_level": True},
        {"escalation_policy": {"id": "PNONE"}},
        {"escalation_policy": "Infrastructure"},
        {"assignments": []},
        {"assignments": "PNOBODY"},
        {"assignments": ["PNOBODY"]},
        {"assignments": [{"assignee": {"id": "PNOBODY", "type": "service_reference"}}]},
        {"assignments": [{"assignee": {"id": "PNOBODY", "type": ["user"]}}]},
    ],
)
def test_code_2001_means_an_invalid_field(put: Put, fields: dict[str, Any]) -> None:
    assert put(**fields) == (400, 2001)


def test_code_2001_means_assignees_combined_with_a_policy(account: Account, put: Put, alice: User) -> None:
    policy = reference(account.directory.policies[1].id, "escalation_policy")
    to = [{"assignee": reference(alice.id, "user")}]
    assert put(escalation_policy=policy, assignments=to) == (400, 2001)


def test_a_refused_change_prevents_all_others_of_the_request(put: Put, incident: Incident) -> None:
    assert put(title="Another one", status="acknowledged", escalation_level=9) == (400, 1006)
    assert incident.title == "Disk full"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"{}", b'{"incident": []}', b"\xff"])
@pytest.mark.parametrize("path", ["", "/notes", "/snooze"])
def test_code_2001_means_an_invalid_body(rest: Rest, incident: Incident, path: str, body: bytes) -> None:
    method = "POST" if path else "PUT"
    answer = rest.request(method, f"/incidents/{incident.id}{path}", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 2001)


@pytest.mark.parametrize("content", ["", "  ", None, 7, ["text"]])
def test_code_2001_means_an_empty_note(rest: Rest, incident: Incident, content: object) -> None:
    path = f"/incidents/{incident.id}/notes"
    assert refusal(lambda: rest.rpost(path, json={"note": {"content": content}})) == (400, 2001)
    assert not incident.notes


def test_code_2001_means_more_than_2000_notes(account: Account, rest: Rest, incident: Incident, alice: User) -> None:
    for number in range(1999):
        account.annotate(incident.id, alice, f"{number}")
    path, note = f"/incidents/{incident.id}/notes", {"note": {"content": "One more."}}
    assert rest.post(path, json=note).is_success
    assert refusal(lambda: rest.rpost(path, json=note)) == (400, 2001)


@pytest.mark.parametrize(
    ("duration", "code"), [(0, 1013), (-5, 1013), (604_801, 1013), ("60", 2001), (1.5, 2001), (True, 2001)]
)
def test_codes_1013_and_2001_mean_an_invalid_snooze(
    account: Account, rest: Rest, incident: Incident, alice: User, duration: object, code: int
) -> None:
    account.acknowledge(incident.id, alice)
    path = f"/incidents/{incident.id}/snooze"
    assert refusal(lambda: rest.rpost(path, json={"duration": duration})) == (400, code)
    assert incident.snoozed_until is None


@pytest.mark.parametrize("duration", [1, 604_800])
def test_the_shortest_and_the_longest_snooze_are_accepted(
    account: Account, rest: Rest, incident: Incident, alice: User, duration: int
) -> None:
    account.acknowledge(incident.id, alice)
    assert rest.post(f"/incidents/{incident.id}/snooze", json={"duration": duration}).status_code == 201


def test_code_1012_means_snoozing_an_incident_that_is_not_acknowledged(
    account: Account, rest: Rest, incident: Incident
) -> None:
    path = f"/incidents/{incident.id}/snooze"
    assert refusal(lambda: rest.rpost(path, json={"duration": 60})) == (400, 1012)
    account.resolve(incident.id)
    assert refusal(lambda: rest.rpost(path, json={"duration": 60})) == (400, 1012)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/incidents/PNONE"),
        ("POST", "/incidents/PNONE/notes"),
        ("GET", "/incidents/PNONE/notes"),
        ("POST", "/incidents/PNONE/snooze"),
        ("GET", "/users/PNONE"),
    ],
)
def test_code_2100_means_not_found(rest: Rest, method: str, path: str) -> None:
    answer = rest.request(method, path, json={} if method != "GET" else None)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 2100)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/incidents"),
        ("PUT", "/incidents/{}"),
        ("POST", "/incidents/{}/notes"),
        ("POST", "/incidents/{}/snooze"),
    ],
)
def test_code_2010_means_a_write_with_a_read_only_key(
    account: Account, rest: Rest, incident: Incident, method: str, path: str
) -> None:
    account.read_only = True
    answer = rest.request(method, path.format(incident.id), json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, 2010)
    assert rest.get(f"/incidents/{incident.id}").is_success
