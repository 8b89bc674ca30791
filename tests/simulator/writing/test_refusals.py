"""What PagerDuty refuses: each code once, and that a refused request changes nothing."""

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
    """A refused update: status and code. Whatever is refused has no effect."""

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


def test_1001_resolves_what_is_resolved(account: Account, put: Put, incident: Incident) -> None:
    account.resolve(incident.id)
    assert put(status="resolved") == (400, 1001)


def test_1002_acknowledges_what_the_same_requester_acknowledged(
    account: Account, put: Put, incident: Incident, alice: User
) -> None:
    account.acknowledge(incident.id, alice)
    assert put(status="acknowledged") == (400, 1002)


@pytest.mark.parametrize("status", ["resolved", "acknowledged"])
def test_a_status_that_is_there_already_may_also_be_answered_with_200_and_change_nothing(
    account: Account, rest: Rest, incident: Incident, alice: User, status: str
) -> None:
    account.habits.repeat = Repeat.SILENT
    account.acknowledge(incident.id, alice) if status == "acknowledged" else account.resolve(incident.id)
    entries = len(account.log.entries)
    answer = rest.put(f"/incidents/{incident.id}", json={"incident": {"type": "incident", "status": status}})
    assert (answer.status_code, answer.json()["incident"]["status"]) == (200, status)
    assert (len(account.log.entries), account.effects) == (entries, [])


def test_1003_is_for_a_status_that_is_none(put: Put) -> None:
    assert put(status="closed") == (400, 1003)
    assert put(status=7) == (400, 1003)
    assert put(status=["resolved"]) == (400, 1003)


def test_1006_escalates_what_is_resolved_or_to_a_level_that_is_none(
    account: Account, put: Put, incident: Incident
) -> None:
    assert put(escalation_level=0) == (400, 1006)
    assert put(escalation_level=len(incident.policy.levels) + 1) == (400, 1006)
    account.resolve(incident.id)
    assert put(escalation_level=2) == (400, 1006)


def test_1007_assigns_to_somebody_who_is_not_there(put: Put, alice: User) -> None:
    assert put(assignments=[{"assignee": OTHER}]) == (400, 1007)
    assert put(assignments=[{"assignee": reference(alice.id, "user")}, {"assignee": OTHER}]) == (400, 1007)


def test_1008_is_for_a_requester_whom_nobody_knows(put: Put, rest: Rest, alice: User) -> None:
    alice.email = "alice.archer@example.com"  # she moved, the caller remembers the old one
    assert put(status="acknowledged") == (400, 1008)
    rest.headers["From"] = "nobody@example.com"
    assert put(status="acknowledged") == (400, 1008)
    del rest.headers["From"]
    assert put(status="acknowledged") == (400, 1008)


def test_a_missing_requester_may_also_be_2016(account: Account, put: Put, rest: Rest) -> None:
    account.habits.missing_from = 2016
    del rest.headers["From"]
    assert put(status="acknowledged") == (400, 2016)


def test_1011_reassigns_what_is_resolved(account: Account, put: Put, incident: Incident, alice: User) -> None:
    account.resolve(incident.id)
    assert put(assignments=[{"assignee": reference(alice.id, "user")}]) == (400, 1011)


def test_1014_escalates_to_a_policy_that_is_none(put: Put) -> None:
    assert put(escalation_policy=reference("PNONE", "escalation_policy")) == (400, 1014)


def test_1015_escalates_to_where_nobody_is_on_call(account: Account, put: Put, incident: Incident, alice: User) -> None:
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
def test_2001_is_for_fields_that_are_not_as_they_should_be(put: Put, fields: dict[str, Any]) -> None:
    assert put(**fields) == (400, 2001)


def test_2001_is_for_assignees_and_a_policy_at_once(account: Account, put: Put, alice: User) -> None:
    policy = reference(account.directory.policies[1].id, "escalation_policy")
    to = [{"assignee": reference(alice.id, "user")}]
    assert put(escalation_policy=policy, assignments=to) == (400, 2001)


def test_no_other_change_is_made_beside_one_that_is_refused(put: Put, incident: Incident) -> None:
    assert put(title="Another one", status="acknowledged", escalation_level=9) == (400, 1006)
    assert incident.title == "Disk full"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"{}", b'{"incident": []}', b"\xff"])
@pytest.mark.parametrize("path", ["", "/notes", "/snooze"])
def test_2001_is_for_a_body_that_is_none(rest: Rest, incident: Incident, path: str, body: bytes) -> None:
    method = "POST" if path else "PUT"
    answer = rest.request(method, f"/incidents/{incident.id}{path}", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 2001)


@pytest.mark.parametrize("content", ["", "  ", None, 7, ["text"]])
def test_2001_is_for_a_note_without_words(rest: Rest, incident: Incident, content: object) -> None:
    path = f"/incidents/{incident.id}/notes"
    assert refusal(lambda: rest.rpost(path, json={"note": {"content": content}})) == (400, 2001)
    assert not incident.notes


def test_2001_is_for_more_than_2000_notes(account: Account, rest: Rest, incident: Incident, alice: User) -> None:
    for number in range(1999):
        account.annotate(incident.id, alice, f"{number}")
    path, note = f"/incidents/{incident.id}/notes", {"note": {"content": "One more."}}
    assert rest.post(path, json=note).is_success
    assert refusal(lambda: rest.rpost(path, json=note)) == (400, 2001)


@pytest.mark.parametrize(
    ("duration", "code"), [(0, 1013), (-5, 1013), (604_801, 1013), ("60", 2001), (1.5, 2001), (True, 2001)]
)
def test_1013_and_2001_are_for_a_sleep_that_cannot_be(
    account: Account, rest: Rest, incident: Incident, alice: User, duration: object, code: int
) -> None:
    account.acknowledge(incident.id, alice)
    path = f"/incidents/{incident.id}/snooze"
    assert refusal(lambda: rest.rpost(path, json={"duration": duration})) == (400, code)
    assert incident.snoozed_until is None


@pytest.mark.parametrize("duration", [1, 604_800])
def test_the_shortest_and_the_longest_sleep(
    account: Account, rest: Rest, incident: Incident, alice: User, duration: int
) -> None:
    account.acknowledge(incident.id, alice)
    assert rest.post(f"/incidents/{incident.id}/snooze", json={"duration": duration}).status_code == 201


def test_1012_lets_nothing_sleep_that_is_not_acknowledged(account: Account, rest: Rest, incident: Incident) -> None:
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
def test_2100_is_for_what_is_not_there(rest: Rest, method: str, path: str) -> None:
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
def test_2010_is_for_writes_with_a_key_that_may_only_read(
    account: Account, rest: Rest, incident: Incident, method: str, path: str
) -> None:
    account.read_only = True
    answer = rest.request(method, path.format(incident.id), json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, 2010)
    assert rest.get(f"/incidents/{incident.id}").is_success
