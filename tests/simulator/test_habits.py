"""How PagerDuty reports events: each quirk that a reader must know, seen through its own library."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from daemon import triggers
from tests.simulator.library import Sdk, latest, log, types

if TYPE_CHECKING:
    from daemon.simulator import Account
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock


def assignees(entry: Any) -> list[str]:
    """Return the ids of an entry's assignees."""
    return [each["id"] for each in entry["assignees"]]


def test_a_trigger_and_its_assignment_share_a_second_and_only_the_first_has_no_assignees(
    incident: Incident, alice: User, sdk: Sdk
) -> None:
    trigger, assign = log(sdk)
    assert types([trigger, assign]) == ["trigger", "assign"]
    assert trigger["created_at"][:19] == assign["created_at"][:19]
    assert "assignees" not in trigger
    assert assignees(assign) == [alice.id]
    assert (assign["agent"]["type"], assign["channel"]["type"]) == ("service_reference", "auto")


def test_the_first_entry_of_an_incident_is_the_creating_one(incident: Incident, sdk: Sdk) -> None:
    found: Any = sdk.rget(f"/incidents/{incident.id}")
    assert found["first_trigger_log_entry"]["id"] == log(sdk)[0]["id"]


def test_a_repeated_trigger_writes_a_second_trigger_entry_on_the_same_incident(
    account: Account, incident: Incident, clock: ManualClock, sdk: Sdk
) -> None:
    assert account.trigger("Disk still full", service=incident.service, key="disk") is incident
    (again,) = latest(sdk, clock)
    assert (again["type"], again["incident"]["id"]) == ("trigger_log_entry", incident.id)
    assert again["id"] != again["incident"]["first_trigger_log_entry"]["id"]
    assert account.trigger("Disk full", service=account.directory.services[1], key="disk") is not incident
    account.resolve(incident.id)
    assert account.trigger("Disk full", service=incident.service, key="disk") is not incident


def test_two_assignees_are_two_entries(
    account: Account, incident: Incident, alice: User, bob: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.reassign(incident.id, alice, [alice, bob])
    entries = latest(sdk, clock)
    assert types(entries) == ["assign", "assign"]
    assert [assignees(each) for each in entries] == [[alice.id], [bob.id]]
    assert {each["agent"]["id"] for each in entries} == {alice.id}


def test_an_escalation_writes_only_escalate_entries(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.escalate(incident.id)
    entries = latest(sdk, clock)
    _, bob, carol, *_ = account.directory.users
    assert types(entries) == ["escalate", "escalate"]
    assert [assignees(each) for each in entries] == [[bob.id], [carol.id]]
    assert {(each["agent"]["type"], each["channel"]["type"]) for each in entries} == {("service_reference", "timeout")}
    clock.advance(1)
    account.escalate(incident.id, alice)
    (by_hand,) = latest(sdk, clock)
    assert (by_hand["agent"]["id"], by_hand["channel"]["type"]) == (alice.id, "website")


def test_a_delegation_writes_one_entry_and_an_automatic_assignment_for_each_new_assignee(
    account: Account, incident: Incident, alice: User, bob: User, clock: ManualClock, sdk: Sdk
) -> None:
    carol = account.directory.users[2]
    account.delegate(incident.id, alice, [bob, carol])
    delegate, *assigns = latest(sdk, clock)
    assert types([delegate, *assigns]) == ["delegate", "assign", "assign"]
    assert (delegate["agent"]["id"], delegate["channel"]["type"]) == (alice.id, "website")
    assert assignees(delegate) == [bob.id, carol.id]
    assert [assignees(each) for each in assigns] == [[bob.id], [carol.id]]
    assert {(each["agent"]["type"], each["channel"]["type"]) for each in assigns} == {("service_reference", "auto")}
    whole: Any = sdk.rget(f"/incidents/{incident.id}")
    assert [each["assignee"]["id"] for each in whole["assignments"]] == [bob.id, carol.id]


def test_an_acknowledgement_by_somebody_else_assigns_and_then_acknowledges(
    account: Account, incident: Incident, alice: User, bob: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.acknowledge(incident.id, bob)
    entries = latest(sdk, clock)
    assert types(entries) == ["assign", "acknowledge"]
    assert {each["agent"]["id"] for each in entries} == {bob.id}
    clock.advance(1)
    account.acknowledge(incident.id, bob)
    assert types(latest(sdk, clock)) == ["acknowledge"]


def test_only_a_timeout_writes_an_unacknowledge_entry_and_an_escalation_does_not(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.acknowledge(incident.id, alice)
    clock.advance(1)
    account.escalate(incident.id)
    entries = latest(sdk, clock)
    assert set(types(entries)) == {"escalate"}
    assert {each["incident"]["status"] for each in entries} == {"triggered"}
    account.acknowledge(incident.id, alice)
    clock.advance(1)
    account.unacknowledge(incident.id)
    (back,) = latest(sdk, clock)
    assert (back["type"], back["channel"]["type"]) == ("unacknowledge_log_entry", "timeout")
    assert (back["incident"]["status"], back["incident"]["acknowledgements"]) == ("triggered", [])


def test_the_text_of_a_note_is_in_the_channel_and_its_id_only_in_the_notes_list(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    note = account.annotate(incident.id, alice, "Größe geprüft ✓")
    (entry,) = latest(sdk, clock)
    assert entry["channel"] == {"type": "note", "summary": "Größe geprüft ✓", "content": "Größe geprüft ✓"}
    assert note.id not in str(entry)
    (bare,) = sdk.iter_incident_notes(incident.id)
    assert bare["channel"] == {"type": "note"}
    (kept,) = sdk.rget(f"/incidents/{incident.id}/notes")
    assert (kept["id"], kept["content"]) == (note.id, "Größe geprüft ✓")


def test_a_resolution_note_is_in_the_resolve_entry_and_has_no_entry_of_its_own(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.resolve(incident.id, alice, "Space is back.")
    (entry,) = latest(sdk, clock)
    assert (entry["type"], entry["note"]) == ("resolve_log_entry", "Space is back.")
    assert list(sdk.iter_incident_notes(incident.id)) == []
    (note,) = sdk.rget(f"/incidents/{incident.id}/notes")
    assert note["content"] == "Space is back."
    entries = [each.type for each in account.log.ledger[-2:]]
    assert entries == ["incident.annotated", "incident.resolved"]


def test_a_merge_resolves_the_source_and_keeps_the_destination_open(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    other = account.trigger("Disk full, too")
    clock.advance(1)
    account.merge(incident.id, other.id, alice)
    resolve, merge = latest(sdk, clock)
    assert (resolve["type"], resolve["incident"]["id"]) == ("resolve_log_entry", incident.id)
    assert (merge["type"], merge["incident"]["id"]) == ("merge_log_entry", other.id)
    assert triggers.is_known(merge["type"])
    assert (resolve["incident"]["status"], merge["incident"]["status"]) == ("resolved", "triggered")
    assert resolve["incident"]["resolve_reason"]["incident"]["id"] == other.id
    assert [(each.type, each.incident_id) for each in account.log.ledger[-1:]] == [
        ("incident.resolved", incident.id),
    ]


def test_a_resolved_incident_can_be_reopened(
    account: Account, incident: Incident, alice: User, bob: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.resolve(incident.id)
    clock.advance(1)
    account.reopen(incident.id, bob)
    entries = latest(sdk, clock)
    assert types(entries) == ["reopen", "assign"]
    assert {each["incident"]["status"] for each in entries} == {"triggered"}
    account.resolve(incident.id)
    clock.advance(1)
    account.acknowledge(incident.id, alice)
    assert types(latest(sdk, clock)) == ["assign", "acknowledge"]
    assert {each["incident"]["status"] for each in latest(sdk, clock)} == {"acknowledged"}


def test_a_notification_has_no_agent_and_contains_contact_details(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.notify(incident.id)
    (entry,) = latest(sdk, clock)
    assert entry["type"] == "notify_log_entry"
    assert "agent" not in entry
    assert entry["user"]["id"] == alice.id
    assert entry["channel"]["notification"]["address"]


def test_the_details_of_a_channel_are_a_text_an_object_or_null(account: Account, sdk: Sdk) -> None:
    for number in range(20):
        account.trigger(f"Disk {number} full")
    details = [each["channel"]["details"] for each in log(sdk) if each["type"] == "trigger_log_entry"]
    assert {type(each) for each in details} == {str, dict, type(None)}


def test_a_snoozed_incident_has_the_end_of_its_snooze(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.acknowledge(incident.id, alice)
    clock.advance(1)
    account.change(incident.id, alice, "snooze", duration=3600)
    (entry,) = latest(sdk, clock)
    until = clock() + timedelta(hours=1)
    assert entry["changed_actions"] == [{"type": "unacknowledge", "at": until.isoformat()}]
    assert entry["incident"]["pending_actions"][0]["at"] == until.strftime("%Y-%m-%dT%H:%M:%SZ")
    account.change(incident.id, alice, "change_urgency")
    assert types(latest(sdk, clock)) == ["snooze", "urgency_change"]
