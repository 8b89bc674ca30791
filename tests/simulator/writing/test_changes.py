"""The REST writes, made by PagerDuty's own client: their effects, log entries, and responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from daemon.model import IncidentStatus

if TYPE_CHECKING:
    from daemon.simulator import Account
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock
    from tests.simulator.writing.client import Rest


def update(rest: Rest, incident: Incident, **fields: object) -> dict[str, Any]:
    """Return the incident in the response to PUT /incidents."""
    answered = rest.rput(f"/incidents/{incident.id}", json={"type": "incident_reference"} | fields)
    assert isinstance(answered, dict)
    return answered


def told(account: Account) -> list[tuple[str, str | None]]:
    """Types and agents of the log since the incident was created and assigned."""
    return [(each.type, each.agent["id"] if each.agent else None) for each in account.log.entries[2:]]


def done(account: Account) -> list[tuple[str, str | None, bool]]:
    """Return the effects: what, in which detail, and whether it reopened an incident."""
    return [(each.what, each.detail, each.reopened) for each in account.effects]


def assigned(answered: dict[str, Any]) -> list[str]:
    return [each["assignee"]["id"] for each in answered["assignments"]]


def test_an_acknowledgement_is_logged_as_done_by_the_requester(
    account: Account, rest: Rest, incident: Incident, alice: User
) -> None:
    answered = update(rest, incident, status="acknowledged")
    assert (answered["id"], answered["status"]) == (incident.id, "acknowledged")
    assert [each["acknowledger"]["id"] for each in answered["acknowledgements"]] == [alice.id]
    assert told(account) == [("acknowledge_log_entry", alice.id)]
    assert account.log.ledger[-1].type == "incident.acknowledged"
    assert done(account) == [("acknowledge", None, False)]


def test_a_user_who_acknowledges_without_being_assigned_is_assigned_first(
    account: Account, rest: Rest, incident: Incident, bob: User
) -> None:
    rest.headers["From"] = bob.email
    assert assigned(update(rest, incident, status="acknowledged")) == [bob.id]
    assert told(account) == [("assign_log_entry", bob.id), ("acknowledge_log_entry", bob.id)]


def test_a_resolution_includes_its_note_and_leaves_nobody_assigned(
    account: Account, rest: Rest, incident: Incident, alice: User
) -> None:
    answered = update(rest, incident, status="resolved", resolution="Space is back.")
    assert (answered["status"], answered["assignments"]) == ("resolved", [])
    assert told(account) == [("resolve_log_entry", alice.id)]
    assert account.log.entries[-1].more == {"note": "Space is back."}
    assert done(account) == [("resolve", "Space is back.", False)]


@pytest.mark.parametrize("status", ["acknowledged", "triggered"])
def test_setting_a_status_reopens_a_resolved_incident(
    account: Account, rest: Rest, incident: Incident, status: str
) -> None:
    account.resolve(incident.id)
    assert update(rest, incident, status=status)["status"] == status
    assert incident.is_open
    assert [each.reopened for each in account.effects] == [True]


def test_an_incident_reopened_as_acknowledged_is_assigned_to_the_requester(
    account: Account, rest: Rest, incident: Incident, bob: User
) -> None:
    account.resolve(incident.id)
    rest.headers["From"] = bob.email
    assert assigned(update(rest, incident, status="acknowledged")) == [bob.id]


def test_a_reopened_incident_is_assigned_as_requested_or_by_its_policy(
    account: Account, rest: Rest, incident: Incident, alice: User, bob: User
) -> None:
    account.resolve(incident.id)
    assert assigned(update(rest, incident, status="triggered")) == [alice.id]
    account.resolve(incident.id)
    to = [{"assignee": {"id": bob.id, "type": "user_reference"}}]
    assert assigned(update(rest, incident, status="triggered", assignments=to)) == [bob.id]
    account.resolve(incident.id)
    other = account.directory.policies[1]
    policy = {"id": other.id, "type": "escalation_policy_reference"}
    answered = update(rest, incident, status="triggered", escalation_policy=policy)
    assert (answered["escalation_policy"]["id"], assigned(answered)) == (
        other.id,
        [user.id for user in other.levels[0]],
    )


def test_setting_triggered_withdraws_an_acknowledgement(
    account: Account, rest: Rest, incident: Incident, alice: User
) -> None:
    account.acknowledge(incident.id, alice)
    answered = update(rest, incident, status="triggered")
    assert (answered["status"], answered["acknowledgements"]) == ("triggered", [])
    assert told(account)[-1] == ("unacknowledge_log_entry", alice.id)


def test_a_reassignment_writes_one_entry_for_each_assignee(
    account: Account, rest: Rest, incident: Incident, alice: User, bob: User
) -> None:
    account.acknowledge(incident.id, alice)
    to = [{"assignee": {"id": user.id, "type": "user_reference"}} for user in (bob, alice)]
    answered = update(rest, incident, assignments=to)
    assert (answered["status"], assigned(answered)) == ("triggered", [bob.id, alice.id])
    assert told(account)[1:] == [("assign_log_entry", alice.id)] * 2
    assert done(account) == [("reassign", f"{bob.id},{alice.id}", False)]


def test_an_escalation_goes_to_the_first_level_of_another_policy(
    account: Account, rest: Rest, incident: Incident, alice: User
) -> None:
    policy = account.directory.policies[1]
    answered = update(rest, incident, escalation_policy={"id": policy.id, "type": "escalation_policy_reference"})
    assert answered["escalation_policy"]["id"] == policy.id
    assert assigned(answered) == [user.id for user in policy.levels[0]]
    assert told(account) == [("escalate_log_entry", alice.id)] * 2
    assert done(account) == [("escalate", policy.id, False)]


def test_escalation_levels_are_counted_from_one(account: Account, rest: Rest, incident: Incident) -> None:
    people = [user.id for user in incident.policy.levels[1]]
    assert assigned(update(rest, incident, escalation_level=2)) == people
    assert incident.level == 1


def test_title_urgency_and_priority_change_together_and_only_differences_are_effects(
    account: Account, rest: Rest, incident: Incident
) -> None:
    fields = {"title": "Disk of db-1 full", "urgency": "low", "priority": "P2"}
    answered = update(rest, incident, **fields)
    assert (answered["title"], answered["urgency"], answered["priority"]["name"]) == ("Disk of db-1 full", "low", "P2")
    update(rest, incident, **fields)
    what = ["retitle", "change_urgency", "change_priority"]
    assert done(account) == [(each, value, False) for each, value in zip(what, fields.values(), strict=True)]


def test_each_call_adds_a_note_even_with_the_same_text(
    account: Account, rest: Rest, incident: Incident, alice: User, clock: ManualClock
) -> None:
    path = f"/incidents/{incident.id}/notes"
    answers = [rest.post(path, json={"note": {"content": "On it."}}) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 201]
    first, second = (each.json()["note"] for each in answers)
    assert (first["content"], first["user"]["id"]) == ("On it.", alice.id)
    assert first["id"] != second["id"]
    listed = rest.rget(path)
    assert [each["id"] for each in listed] == [first["id"], second["id"]]
    assert told(account) == [("annotate_log_entry", alice.id)] * 2
    assert done(account) == [("annotate", "On it.", False)] * 2
    assert clock.now.isoformat().startswith(first["created_at"][:19])


@pytest.mark.parametrize("status", [201, 200])
def test_the_response_to_a_new_note_is_201_or_200_as_documented(
    account: Account, rest: Rest, incident: Incident, status: Literal[200, 201]
) -> None:
    account.habits.note_status = status
    answer = rest.post(f"/incidents/{incident.id}/notes", json={"note": {"content": "On it."}})
    assert answer.status_code == status


def test_a_resolved_incident_accepts_notes(account: Account, rest: Rest, incident: Incident) -> None:
    account.resolve(incident.id)
    assert rest.post(f"/incidents/{incident.id}/notes", json={"note": {"content": "Why?"}}).is_success
    assert incident.status is IncidentStatus.RESOLVED


def test_an_acknowledged_incident_is_snoozed_until_its_pending_action(
    account: Account, rest: Rest, incident: Incident, alice: User
) -> None:
    account.acknowledge(incident.id, alice)
    answer = rest.post(f"/incidents/{incident.id}/snooze", json={"duration": 3600})
    assert answer.status_code == 201
    assert answer.json()["incident"]["pending_actions"] == [{"type": "unacknowledge", "at": "2026-11-23T11:01:00Z"}]
    assert told(account)[-1] == ("snooze_log_entry", alice.id)
    assert done(account) == [("snooze", "3600", False)]


def test_a_user_has_the_included_objects(rest: Rest, alice: User) -> None:
    include = {"include[]": ["contact_methods", "notification_rules"]}
    bare, whole = rest.rget(f"/users/{alice.id}"), rest.rget(f"/users/{alice.id}", params=include)
    assert (bare["name"], bare["email"]) == (alice.name, alice.email)
    assert "address" not in bare["contact_methods"][0]
    assert whole["contact_methods"][0]["address"] == alice.email
    assert whole["notification_rules"][0]["start_delay_in_minutes"] == 0


def test_effects_are_listed_in_order(rest: Rest, incident: Incident, alice: User) -> None:
    update(rest, incident, status="acknowledged")
    update(rest, incident, status="resolved")
    effects = rest.get("/simulator/effects").json()["effects"]
    assert [(each["seq"], each["what"]) for each in effects] == [(0, "acknowledge"), (1, "resolve")]
    path = f"/incidents/{incident.id}"
    assert {(each["method"], each["path"], each["incident_id"], each["who"]) for each in effects} == {
        ("PUT", path, incident.id, alice.id)
    }
