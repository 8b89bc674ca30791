"""Incidents and their notes, read by PagerDuty's own client library."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pagerduty
import pytest

from tests.simulator.library import Sdk, ids, log, refusal

if TYPE_CHECKING:
    import httpx

    from daemon.simulator import Account
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock


def test_incidents_are_found_by_their_status(account: Account, sdk: Sdk) -> None:
    alice = account.directory.users[0]
    triggered, acknowledged, resolved = (account.trigger(f"Disk {number} full").id for number in range(3))
    account.acknowledge(acknowledged, alice)
    account.resolve(resolved, alice)

    def found(*statuses: str) -> set[str]:
        return set(ids(sdk.iter_all("incidents", params={"statuses": list(statuses)})))

    assert found() == {triggered, acknowledged, resolved}
    assert found("resolved") == {resolved}
    assert found("triggered", "acknowledged") == {triggered, acknowledged}
    with pytest.raises(pagerduty.HttpError, match="status 400"):
        found("triggered", "open")


def test_incidents_created_in_the_last_month_are_listed_by_default(
    clock: ManualClock, account: Account, sdk: Sdk
) -> None:
    old = account.trigger("Disk full").id
    clock.advance(timedelta(days=200).total_seconds())
    new = account.trigger("Disk full again").id
    account.annotate(old, account.directory.users[0], "Still there: nothing tells that it changed.")
    assert ids(sdk.iter_all("incidents")) == [new]
    assert ids(sdk.iter_all("incidents", params={"date_range": "all"})) == [old, new]
    around = {"since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"}
    assert ids(sdk.iter_all("incidents", params=around)) == [old]
    ignored = around | {"date_range": "all"}
    assert ids(sdk.iter_all("incidents", params=ignored)) == [old, new]


def test_a_range_of_more_than_six_months_is_refused(http: httpx.Client) -> None:
    half_a_year = {"since": "2026-05-24T10:00:00Z", "until": "2026-11-23T10:00:00Z"}
    assert http.get("/incidents", params=half_a_year).status_code == 200
    longer = half_a_year | {"since": "2026-05-23T10:00:00Z"}
    assert refusal(http.get("/incidents", params=longer))[:2] == (400, 2001)


def test_a_key_finds_every_incident_that_had_it(account: Account, sdk: Sdk) -> None:
    service = account.directory.services[0]
    first = account.trigger("Disk full", service=service, key="disk").id
    account.resolve(first)
    second = account.trigger("Disk full", service=service, key="disk").id
    account.open("By hand", account.directory.users[0])
    assert ids(sdk.iter_all("incidents", params={"incident_key": "disk"})) == [first, second]
    assert ids(sdk.iter_all("incidents", params={"incident_key": "network"})) == []
    assert ids(sdk.iter_all("incidents", params={"incident_key": "dis"})) == []


def test_user_ids_matches_current_and_not_former_assignees(account: Account, sdk: Sdk) -> None:
    alice, bob, *_ = account.directory.users
    incident = account.trigger("Disk full", service=account.directory.services[0]).id

    def found(user: str) -> list[str]:
        return ids(sdk.iter_all("incidents", params={"user_ids": [user]}))

    assert (found(alice.id), found(bob.id)) == ([incident], [])
    account.reassign(incident, alice, [bob])
    assert (found(alice.id), found(bob.id)) == ([], [incident])
    account.resolve(incident)
    assert found(bob.id) == []


@pytest.mark.parametrize("name", ["service_ids", "team_ids", "urgencies"])
def test_incidents_are_found_by_service_team_and_urgency(account: Account, sdk: Sdk, name: str) -> None:
    checkout, search, *_ = account.directory.services
    low = account.trigger("Disk full", service=checkout, urgency="low").id
    high = account.trigger("Disk full", service=search).id
    wanted, expected = {
        "service_ids": (checkout.id, [low]),
        "team_ids": (account.directory.team.id, [low, high]),
        "urgencies": ("low", [low]),
    }[name]
    assert ids(sdk.iter_all("incidents", params={name: [wanted]})) == expected
    assert ids(sdk.iter_all("incidents", params={name: ["PNONE"]})) == []


def test_incidents_are_sorted_as_requested(clock: ManualClock, account: Account, sdk: Sdk) -> None:
    first = account.trigger("Disk full", urgency="low").id
    clock.advance(1)
    second, third = account.trigger("Disk full").id, account.trigger("Disk full", urgency="low").id

    def found(sort: str) -> list[str]:
        return ids(sdk.iter_all("incidents", params={"sort_by": sort}))

    assert found("incident_number:desc") == [third, second, first]
    assert found("created_at:asc,incident_number:desc") == [first, third, second]
    assert found("urgency,incident_number") == [second, first, third]
    for wrong in ("updated_at", "incident_number:sideways"):
        with pytest.raises(pagerduty.HttpError, match="status 400"):
            found(wrong)


def test_an_incident_is_found_by_its_id_and_all_its_notes_are_one_response(account: Account, sdk: Sdk) -> None:
    alice = account.directory.users[0]
    incident = account.trigger("Disk full")
    notes = [account.annotate(incident.id, alice, f"Note {number}") for number in range(30)]
    assert sdk.rget(f"/incidents/{incident.id}")["title"] == "Disk full"
    found = sdk.rget(f"/incidents/{incident.id}/notes")
    assert [(each["id"], each["content"], each["user"]["id"]) for each in found] == [
        (note.id, note.content, alice.id) for note in notes
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/incidents/PNONE",
        "/incidents/PNONE/notes",
        "/log_entries/PNONE",
        "/users/PNONE",
        "/services/PNONE",
        "/escalation_policies/PNONE",
        "/teams/PNONE",
        "/abilities/flying",
        "/nowhere",
    ],
)
def test_an_unknown_object_is_refused(http: httpx.Client, path: str) -> None:
    assert refusal(http.get(path)) == (404, 2100, [])


def test_an_unsupported_method_is_refused(http: httpx.Client) -> None:
    assert http.delete("/abilities").status_code == 405


def test_a_resolved_incident_has_no_assignments_and_acknowledgements(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.acknowledge(incident.id, alice)
    acknowledged: Any = sdk.rget(f"/incidents/{incident.id}")
    assert [each["acknowledger"]["id"] for each in acknowledged["acknowledgements"]] == [alice.id]
    assert acknowledged["resolved_at"] is None
    account.resolve(incident.id, alice)
    resolved: Any = sdk.rget(f"/incidents/{incident.id}")
    assert (resolved["assignments"], resolved["acknowledgements"]) == ([], [])
    assert resolved["resolved_at"] == resolved["last_status_change_at"] == "2026-11-23T10:01:00Z"
    assert resolved["last_status_change_by"]["id"] == alice.id


def test_a_priority_is_embedded_in_full(account: Account, incident: Incident, alice: User, sdk: Sdk) -> None:
    before: Any = sdk.rget(f"/incidents/{incident.id}")
    account.change(incident.id, alice, "change_priority")
    after: Any = sdk.rget(f"/incidents/{incident.id}")
    assert before["priority"] is None
    assert (after["priority"]["type"], after["priority"]["name"][0]) == ("priority", "P")


def test_mixed_statuses_are_listed_by_status_by_default(
    account: Account, incident: Incident, alice: User, sdk: Sdk
) -> None:
    second = account.trigger("Login is slow")
    account.acknowledge(second.id, alice)

    def listed(**params: str) -> list[int]:
        query = {"statuses": ["triggered", "acknowledged"]} | params
        return [each["incident_number"] for each in sdk.iter_all("incidents", params=query)]

    assert listed() == [2, 1]
    assert listed(sort_by="incident_number:asc") == [1, 2]


def test_an_incident_created_in_the_web_interface_has_no_key(account: Account, alice: User, sdk: Sdk) -> None:
    opened = account.open("By hand", alice)
    found: Any = sdk.rget(f"/incidents/{opened.id}")
    assert found["incident_key"] is None
    trigger = log(sdk)[0]
    assert (trigger["channel"]["type"], trigger["agent"]["id"]) == ("web_trigger", alice.id)
