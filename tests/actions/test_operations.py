"""Each operation: its requests to PagerDuty, its result, and its errors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from daemon import actions, errors
from daemon.model import ActionState, IncidentStatus, Outcome

if TYPE_CHECKING:
    from tests.actions.conftest import Office

NO_USER_ID = "must be a user's id such as PXPGF42, not an e-mail address (list: pagerelay users)"
INCIDENT = {
    "id",
    "summary",
    "html_url",
    "created_at",
    "status",
    "incident_key",
    "assignedUserId",
    "last_status_change_at",
    "escalation_policy",
    "urgency",
}
USER = {
    "id",
    "name",
    "email",
    "time_zone",
    "billed",
    "role",
    "contact_methods",
    "notification_rules",
    "job_title",
    "teams",
    "coordinated_incidents",
}


async def test_acknowledging_sets_the_status_as_the_user_and_returns_the_incident(office: Office) -> None:
    incident = office.incident()
    done = await office.carry_out("AcknowledgeIncident", incidentId=incident.id, userId=office.alice)
    assert (done.state, done.outcome, done.error) == (ActionState.SUCCEEDED, Outcome.DONE, None)
    assert office.sent("PUT") == [
        (f"/incidents/{incident.id}", {"incident": {"type": "incident_reference", "status": "acknowledged"}})
    ]
    assert office.line.requests[-1].headers["from"] == "alice@example.com"
    assert done.result is not None
    assert done.result.keys() == INCIDENT
    assert (done.result["status"], done.result["assignedUserId"]) == ("acknowledged", office.alice)


async def test_resolving_sets_the_status_without_reading_first(office: Office) -> None:
    incident = office.incident()
    done = await office.carry_out("ResolveIncident", incidentId=incident.id, userId=office.alice)
    assert done.outcome is Outcome.DONE
    assert [(each.method, each.url.path) for each in office.line.requests] == [
        ("GET", f"/users/{office.alice}"),
        ("PUT", f"/incidents/{incident.id}"),
    ]
    assert done.result is not None
    assert (done.result["status"], done.result["assignedUserId"]) == ("resolved", None)
    assert incident.status is IncidentStatus.RESOLVED


async def test_reassigning_names_the_new_assignee_alone(office: Office) -> None:
    incident = office.incident()
    bob = office.account.directory.user("bob").id
    done = await office.carry_out("ReassignIncident", incidentId=incident.id, userId=office.alice, reassignUserId=bob)
    ((_, body),) = office.sent("PUT")
    assert body["incident"]["assignments"] == [{"assignee": {"id": bob, "type": "user_reference"}}]
    assert done.result is not None
    assert done.result["assignedUserId"] == bob


async def test_escalating_names_the_policy_and_snoozing_the_seconds(office: Office) -> None:
    incident = office.incident()
    policy = office.account.directory.policies[1]
    done = await office.carry_out("EscalateIncident", incidentId=incident.id, userId=office.alice, policyId=policy.id)
    ((_, body),) = office.sent("PUT")
    assert body["incident"]["escalation_policy"] == {"id": policy.id, "type": "escalation_policy_reference"}
    assert done.result is not None
    assert done.result["escalation_policy"]["id"] == policy.id
    await office.carry_out("AcknowledgeIncident", incidentId=incident.id, userId=office.alice)
    done = await office.carry_out("SnoozeIncident", incidentId=incident.id, userId=office.alice, duration=3600)
    assert done.outcome is Outcome.DONE
    assert office.sent("POST") == [(f"/incidents/{incident.id}/snooze", {"duration": 3600})]


async def test_a_note_is_added_with_its_text_and_comes_back_with_its_id(office: Office) -> None:
    incident = office.incident()
    done = await office.carry_out(
        "AddNoteToIncident", incidentId=incident.id, userId=office.alice, note="Größe geprüft ✓"
    )
    assert office.sent("POST") == [(f"/incidents/{incident.id}/notes", {"note": {"content": "Größe geprüft ✓"}})]
    (note,) = incident.notes
    assert done.result is not None
    assert done.result.keys() == {"user", "note"}
    assert done.result["user"] == {"id": office.alice}
    assert done.result["note"].keys() == {"id", "user", "content", "created_at"}
    assert (done.result["note"]["id"], done.result["note"]["content"]) == (note.id, "Größe geprüft ✓")


async def test_lookups_return_the_objects_of_the_connector(office: Office) -> None:
    done = await office.carry_out("GetUser", userId=office.alice)
    assert done.result is not None
    assert done.result.keys() == USER
    assert done.result["email"] == "alice@example.com"
    assert done.result["contact_methods"][0]["address"] == "alice@example.com"
    old = office.account.trigger("Old", key="db-1")
    office.account.resolve(old.id)
    new = office.account.trigger("New", key="db-1")
    action = await office.carry_out("GetIncidentByKey", incident_key="db-1")
    assert action.result is not None
    assert action.result.keys() == INCIDENT
    assert action.result["id"] == new.id
    office.account.resolve(new.id)
    action = await office.carry_out("GetIncidentByKey", incident_key="db-1")
    assert action.result is not None
    assert action.result["id"] == new.id, "none is open: the newest"


@pytest.mark.parametrize(
    ("operation", "parameters", "code", "words"),
    [
        ("AcknowledgeIncident", {"incidentId": "PNONE", "userId": "{alice}"}, "not_found", "no incident PNONE"),
        ("ResolveIncident", {"incidentId": "PNONE", "userId": "{alice}"}, "not_found", "no incident PNONE"),
        ("AcknowledgeIncident", {"incidentId": "{incident}", "userId": "PNONE"}, "user_not_found", "no user PNONE"),
        ("SnoozeIncident", {"incidentId": "{incident}", "userId": "{alice}", "duration": 60}, "not_acknowledged", ""),
        (
            "ReassignIncident",
            {"incidentId": "{incident}", "userId": "{alice}", "reassignUserId": "PNONE"},
            "assignee_not_found",
            "",
        ),
        (
            "EscalateIncident",
            {"incidentId": "{incident}", "userId": "{alice}", "policyId": "PNO"},
            "policy_not_found",
            "",
        ),
        (
            "AddNoteToIncident",
            {"incidentId": "PNONE", "userId": "{alice}", "note": "x"},
            "not_found",
            "no incident PNONE",
        ),
        ("GetUser", {"userId": "PNONE"}, "not_found", "no user PNONE"),
        ("GetIncidentByKey", {"incident_key": "none"}, "not_found", "no incident with the key none"),
    ],
)
async def test_an_impossible_action_fails_at_the_first_run_with_code_and_message(
    office: Office, operation: str, parameters: dict[str, Any], code: str, words: str
) -> None:
    incident = office.incident()
    given = {
        name: value.format(alice=office.alice, incident=incident.id) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
    failed = await office.carry_out(operation, **given)
    assert (failed.state, failed.runs) == (ActionState.FAILED, 1)
    assert failed.error is not None
    assert failed.error["code"] == code
    assert words in failed.error["message"]
    assert office.effects == []


async def test_a_read_only_key_is_named_in_the_error(office: Office) -> None:
    incident = office.incident()
    office.account.read_only = True
    failed = await office.carry_out("ResolveIncident", incidentId=incident.id, userId=office.alice)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["status"], failed.error["pagerduty_code"]) == (
        "access_denied",
        403,
        2010,
    )


async def test_a_changed_address_is_looked_up_again_and_the_action_continues(office: Office) -> None:
    first, second = office.incident(), office.incident()
    await office.carry_out("ResolveIncident", incidentId=first.id, userId=office.alice)
    people = office.account.directory.users
    office.account.directory.users = (replace(people[0], email="alice@new.example.com"), *people[1:])
    done = await office.carry_out("ResolveIncident", incidentId=second.id, userId=office.alice)
    assert (done.state, done.runs) == (ActionState.SUCCEEDED, 1)
    assert office.line.requests[-1].headers["from"] == "alice@new.example.com"


@pytest.mark.parametrize(
    ("operation", "parameters", "problems"),
    [
        (
            "AcknowledgeIncident",
            {"incidentID": "P1"},
            [
                ("incidentId", "is required"),
                ("userId", "is required"),
                ("incidentID", 'is not a parameter (did you mean "incidentId"?)'),
            ],
        ),
        (
            "SnoozeIncident",
            {"incidentId": "P1", "userId": "P2", "duration": 604_801},
            [
                ("duration", "must be a whole number from 1 to 604800"),
            ],
        ),
        (
            "AddNoteToIncident",
            {"incidentId": "a b", "userId": "", "note": " "},
            [
                ("incidentId", "must be an id or key, without spaces"),
                ("userId", "must not be empty"),
                ("note", "must not be blank"),
            ],
        ),
        (
            "CreateIncident",
            {"service_key": "k", "description": "x" * 1025},
            [
                ("description", "must have at most 1024 characters"),
            ],
        ),
        ("GetUser", {"userId": 7}, [("userId", "must be text")]),
        ("GetUser", {"userId": "../incidents"}, [("userId", NO_USER_ID)]),
        ("GetUser", {"userId": "alice@example.com"}, [("userId", NO_USER_ID)]),
        (
            "ReassignIncident",
            {"incidentId": "P1", "userId": "PALICE", "reassignUserId": "bob@example.com"},
            [("reassignUserId", NO_USER_ID)],
        ),
    ],
)
def test_each_invalid_parameter_is_a_separate_error(
    operation: str, parameters: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    with pytest.raises(errors.ParameterError) as error:
        actions.check(actions.REGISTRY[operation], parameters)
    assert error.value.problems == problems


def test_every_operation_of_the_connector_exists_with_its_parameters() -> None:
    assert {name: list(each.parameters.model_fields) for name, each in actions.REGISTRY.items()} == {
        "GetIncidentByKey": ["incident_key"],
        "GetUser": ["userId"],
        "AddNoteToIncident": ["incidentId", "userId", "note"],
        "AcknowledgeIncident": ["incidentId", "userId"],
        "ResolveIncident": ["incidentId", "userId"],
        "ReassignIncident": ["incidentId", "userId", "reassignUserId"],
        "SnoozeIncident": ["incidentId", "userId", "duration"],
        "EscalateIncident": ["incidentId", "userId", "policyId"],
        "CreateIncident": ["service_key", "description"],
    }
    assert all(name == each.name and each.help.endswith(".") for name, each in actions.REGISTRY.items())
