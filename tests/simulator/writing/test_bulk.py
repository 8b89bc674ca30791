"""Many updates in one request, and the effect on the others when one of them is invalid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.model import IncidentStatus
from daemon.simulator.quirks import Bulk
from tests.simulator.writing.client import refusal

if TYPE_CHECKING:
    from daemon.simulator import Account
    from daemon.simulator.incident import Incident
    from tests.simulator.writing.client import Rest

RESOLVED, TRIGGERED = IncidentStatus.RESOLVED, IncidentStatus.TRIGGERED


@pytest.fixture
def incidents(account: Account) -> list[Incident]:
    """Three that are open, the second of them with an id that a request may get wrong."""
    return [account.trigger(f"Disk {number} full") for number in range(3)]


def resolving(*ids: str) -> list[dict[str, str]]:
    return [{"id": each, "type": "incident_reference", "status": "resolved"} for each in ids]


def with_one_wrong(incidents: list[Incident]) -> dict[str, Any]:
    """Return updates; the second names an unknown incident."""
    return {"incidents": resolving(incidents[0].id, "PNONE", incidents[2].id)}


def test_one_request_makes_a_different_update_to_each_of_many_incidents(
    account: Account, rest: Rest, incidents: list[Incident]
) -> None:
    first, second, third = incidents
    updates = [
        {"id": first.id, "type": "incident_reference", "status": "resolved"},
        {"id": second.id, "type": "incident_reference", "status": "acknowledged"},
        {"id": third.id, "type": "incident", "title": "Disk 2 is full"},
    ]
    answered = rest.rput("/incidents", json=updates)
    assert [each["id"] for each in answered] == [each.id for each in incidents]
    assert [each["status"] for each in answered] == ["resolved", "acknowledged", "triggered"]
    assert [(each.incident_id, each.what) for each in account.effects] == [
        (first.id, "resolve"),
        (second.id, "acknowledge"),
        (third.id, "retitle"),
    ]


def test_250_updates_are_accepted_and_251_are_too_many(account: Account, rest: Rest) -> None:
    many = [account.trigger(f"Disk {number} full").id for number in range(251)]
    answer = rest.put("/incidents", json={"incidents": resolving(*many)})
    assert (answer.status_code, account.effects) == (413, [])
    answered = rest.rput("/incidents", json=resolving(*many[:250]))
    assert len(answered) == len(account.effects) == 250


def test_one_unknown_id_fails_the_whole_request(account: Account, rest: Rest, incidents: list[Incident]) -> None:
    assert refusal(lambda: rest.rput("/incidents", json=with_one_wrong(incidents))) == (400, 2001)
    assert [each.status for each in incidents] == [TRIGGERED] * 3
    assert not account.effects


def test_one_impossible_update_fails_the_whole_request_with_its_code(
    account: Account, rest: Rest, incidents: list[Incident]
) -> None:
    account.resolve(incidents[1].id)
    updates = resolving(*(each.id for each in incidents))
    assert refusal(lambda: rest.rput("/incidents", json=updates)) == (400, 1001)
    assert not account.effects


def test_alternatively_the_valid_updates_are_made_and_the_failed_one_is_missing(
    account: Account, rest: Rest, incidents: list[Incident]
) -> None:
    account.habits.bulk = Bulk.SKIPPED
    answer = rest.put("/incidents", json=with_one_wrong(incidents))
    assert answer.status_code == 200
    assert [each["id"] for each in answer.json()["incidents"]] == [incidents[0].id, incidents[2].id]
    assert [each.status for each in incidents] == [RESOLVED, TRIGGERED, RESOLVED]


def test_alternatively_the_failed_update_is_listed_with_its_error(
    account: Account, rest: Rest, incidents: list[Incident]
) -> None:
    account.habits.bulk = Bulk.MARKED
    answer = rest.put("/incidents", json=with_one_wrong(incidents))
    assert answer.status_code == 200
    errors = [each.get("error", {}).get("code") for each in answer.json()["incidents"]]
    assert errors == [None, 2001, None]
    assert [each.status for each in incidents] == [RESOLVED, TRIGGERED, RESOLVED]


def test_alternatively_the_request_fails_after_the_preceding_updates_were_made(
    account: Account, rest: Rest, incidents: list[Incident]
) -> None:
    account.habits.bulk = Bulk.HALFWAY
    assert refusal(lambda: rest.rput("/incidents", json=with_one_wrong(incidents))) == (400, 2001)
    assert [each.status for each in incidents] == [RESOLVED, TRIGGERED, TRIGGERED]
    assert [each.incident_id for each in account.effects] == [incidents[0].id]


@pytest.mark.parametrize("habit", list(Bulk))
@pytest.mark.parametrize(
    "updates",
    [
        {},
        {"incidents": []},
        {"incidents": {}},
        {"incidents": ["PNONE"]},
        {"incidents": [{"type": "incident_reference"}]},
        {"incidents": resolving("PTWICE", "PTWICE")},
    ],
)
def test_code_2001_means_an_invalid_list(account: Account, rest: Rest, habit: Bulk, updates: dict[str, Any]) -> None:
    account.habits.bulk = habit
    answer = rest.put("/incidents", json=updates)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 2001)


def test_one_requester_is_recorded_for_all_updates(account: Account, rest: Rest, incidents: list[Incident]) -> None:
    rest.headers["From"] = "nobody@example.com"
    updates = resolving(*(each.id for each in incidents))
    assert refusal(lambda: rest.rput("/incidents", json=updates)) == (400, 1008)
    assert not account.effects
