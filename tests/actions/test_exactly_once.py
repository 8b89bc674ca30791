"""Each effect exactly once, whatever fails: connections, daemons, or interference by others."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.actions import create_incident
from daemon.model import ActionState, IncidentStatus, Outcome
from daemon.runtime.presence import Presence
from daemon.settings import Limits
from daemon.simulator import quirks
from daemon.storage import action_queue
from tests.actions.conftest import opened
from tests.harness.effects import CHANGES

if TYPE_CHECKING:
    import httpx

    from daemon.simulator.incident import Incident
    from daemon.storage.database import Database
    from tests.actions.conftest import Office
    from tests.conftest import ManualClock

FAULTS = st.sampled_from(["before", "after", None, None])


def parameters(office: Office, operation: str, incident: Incident) -> dict[str, Any]:
    """Good ones for a change of that incident."""
    values: dict[str, Any] = {"incidentId": incident.id, "userId": office.alice}
    more: dict[str, dict[str, Any]] = {
        "ReassignIncident": {"reassignUserId": office.account.directory.user("erin").id},
        "SnoozeIncident": {"duration": 3600},
        "EscalateIncident": {"policyId": incident.policy.id},  # the one that it has: the hardest case
        "AddNoteToIncident": {"note": "Looking into it."},
    }
    return values | more.get(operation, {})


def prepared(office: Office, operation: str) -> Incident:
    """Return an incident to which the operation can be applied."""
    incident = office.incident()
    if operation == "SnoozeIncident":
        office.account.acknowledge(incident.id, office.account.directory.user("alice"))
        office.account.change(
            incident.id, office.account.directory.user("bob"), "snooze", duration=60
        )  # it is snoozed otherwise already
    office.clock.advance(60)
    return incident


class Cuts:
    """Breaks the connection around the first requests of these methods, a given number of times."""

    def __init__(self, when: str, times: int = 1, methods: tuple[str, ...] = ("PUT", "POST")) -> None:
        self.when, self.left, self.methods = when, times, methods

    def __call__(self, request: httpx.Request, when: str) -> bool:
        if when != self.when or request.method not in self.methods or not self.left:
            return False
        self.left -= 1
        return True


@pytest.mark.parametrize("operation", CHANGES)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_connection_broken_before_or_after_the_effect_still_causes_it_once(
    office: Office, operation: str, when: str
) -> None:
    incident = prepared(office, operation)
    office.line.cut = Cuts(when)
    done = await office.carry_out(operation, **parameters(office, operation, incident))
    assert (done.state, done.outcome, done.runs) == (ActionState.SUCCEEDED, Outcome.DONE, 2)
    assert [each.what for each in office.effects] == [CHANGES[operation]]
    assert done.result is not None


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("resolved", [False, True])
async def test_an_incident_is_created_once_even_if_it_was_resolved_before_the_retry(
    office: Office, when: str, *, resolved: bool
) -> None:
    key = office.account.directory.services[0].key
    office.line.cut = Cuts(when)
    executor = office.executor()
    action_id = office.ask("CreateIncident", service_key=key, description="Disk almost full")
    await executor.run_once()
    if resolved and office.account.incidents:
        office.account.resolve(next(iter(office.account.incidents)))
    (done,) = await office.work(executor, action_id)
    (incident,) = office.account.incidents.values()
    assert done.result == {"incident_key": incident.key}
    assert done.id in str(incident.key)


@pytest.mark.parametrize("operation", CHANGES)
async def test_a_daemon_that_dies_between_an_effect_and_its_record_repeats_nothing(
    office: Office, operation: str
) -> None:
    incident = prepared(office, operation)
    action_id = office.ask(operation, **parameters(office, operation, incident))
    dying = asyncio.create_task(office.executor("one").run_once())

    def die(request: httpx.Request, when: str) -> bool:
        if when == "after" and request.method in {"PUT", "POST"}:
            office.line.cut = lambda _request, _when: False
            dying.cancel()
            raise asyncio.CancelledError
        return False

    office.line.cut = die
    await asyncio.gather(dying, return_exceptions=True)
    office.database.write_now(action_queue.release, ["one"])
    assert office.action(action_id).state is ActionState.QUEUED
    (done,) = await office.work(office.executor("two"), action_id)
    assert done.state is ActionState.SUCCEEDED
    assert [each.what for each in office.effects] == [CHANGES[operation]]


async def test_an_acknowledgement_never_reopens_an_incident_resolved_meanwhile(office: Office) -> None:
    incident = office.incident()
    office.account.resolve(incident.id)
    done = await office.carry_out("AcknowledgeIncident", incidentId=incident.id, userId=office.alice)
    assert (done.state, done.outcome) == (ActionState.SUCCEEDED, Outcome.OVERTAKEN)
    assert done.result is not None
    assert done.result["status"] == "resolved"
    assert (office.effects, incident.status) == ([], IncidentStatus.RESOLVED)


async def test_a_retried_acknowledgement_never_reopens_an_incident_resolved_between_runs(office: Office) -> None:
    incident = office.incident()
    office.line.cut = Cuts("after")
    executor = office.executor()
    action_id = office.ask("AcknowledgeIncident", incidentId=incident.id, userId=office.alice)
    await executor.run_once()
    office.account.resolve(incident.id)
    (done,) = await office.work(executor, action_id)
    assert done.outcome is Outcome.OVERTAKEN
    assert [(each.what, each.reopened) for each in office.effects] == [("acknowledge", False)]


@pytest.mark.parametrize("operation", ["ReassignIncident", "SnoozeIncident", "EscalateIncident"])
async def test_an_action_on_a_resolved_incident_ends_as_overtaken_and_not_as_an_error(
    office: Office, operation: str
) -> None:
    incident = prepared(office, operation)
    office.account.resolve(incident.id)
    done = await office.carry_out(operation, **parameters(office, operation, incident))
    assert (done.state, done.outcome, office.effects) == (ActionState.SUCCEEDED, Outcome.OVERTAKEN, [])


@pytest.mark.parametrize("repeat", quirks.Repeat)
async def test_an_action_whose_effect_already_exists_succeeds(office: Office, repeat: quirks.Repeat) -> None:
    office.account.habits.repeat = repeat
    incident = office.incident()
    office.account.resolve(incident.id)
    done = await office.carry_out("ResolveIncident", incidentId=incident.id, userId=office.alice)
    assert done.state is ActionState.SUCCEEDED
    other = office.incident()
    office.account.acknowledge(other.id, office.account.directory.user("alice"))
    done = await office.carry_out("AcknowledgeIncident", incidentId=other.id, userId=office.alice)
    assert done.state is ActionState.SUCCEEDED
    renewed = ["acknowledge"] if repeat is quirks.Repeat.RENEWED else []
    assert [each.what for each in office.effects] == renewed


async def test_two_actions_with_the_same_note_add_two_notes_even_if_a_connection_breaks(office: Office) -> None:
    incident = office.incident()
    executor = office.executor()
    note = parameters(office, "AddNoteToIncident", incident)
    first, second = office.ask("AddNoteToIncident", **note), office.ask("AddNoteToIncident", **note)
    await office.work(executor, first)
    office.line.cut = Cuts("before")
    one, two = await office.work(executor, first, second)
    assert one.result is not None
    assert two.result is not None
    assert one.result["note"]["id"] != two.result["note"]["id"]
    assert len(incident.notes) == 2


async def test_a_daemon_presumed_dead_makes_no_write_call(office: Office) -> None:
    incident = office.incident()
    office.ask("ResolveIncident", incidentId=incident.id, userId=office.alice)

    def bury(request: httpx.Request, when: str) -> bool:
        if when == "after" and request.url.path.startswith("/users/"):
            office.database.write_now(action_queue.release, ["one"])
        return False

    office.line.cut = bury
    await office.executor("one").run_once()
    assert office.effects == []
    assert incident.is_open


async def test_a_daemon_that_stood_still_between_its_note_and_its_call_makes_no_late_call(office: Office) -> None:
    incident = office.incident()
    action_id = office.ask("AddNoteToIncident", incidentId=incident.id, userId=office.alice, note="Looking")
    awake = [True]
    presence = Presence(timedelta(seconds=13), lambda: 0.0 if awake[0] else 60.0)
    stopped = office.executor("one", presence=presence)

    def stop(request: httpx.Request, when: str) -> bool:
        if when == "after" and request.url.path.startswith("/users/"):
            awake[0] = False  # stopped before its write; meanwhile "two" carries the action out
        return False

    office.line.cut = stop
    await stopped.run_once()
    assert office.action(action_id).write_began_at is not None
    assert office.effects == []
    assert await stopped.run_once() is not None, "it claims nothing either"
    office.database.write_now(action_queue.release, ["one"])
    (action,) = await office.work(office.executor("two"), action_id)
    assert action.state is ActionState.SUCCEEDED
    assert len(incident.notes) == 1


async def test_a_batch_that_another_daemon_took_over_is_abandoned(office: Office) -> None:
    incident = office.incident()
    action_id = office.ask("AddNoteToIncident", incidentId=incident.id, userId=office.alice, note="Looking")
    late = office.executor("one")
    waiting = asyncio.Event()

    async def wait_for_ever(*_args: object) -> str:
        waiting.set()
        return await asyncio.Future()

    late._sender = wait_for_ever  # type: ignore[method-assign,assignment] # a call that waits for a permit
    running = asyncio.create_task(late.run_once())
    await waiting.wait()
    await late.abandon()
    assert await running is None
    (action,) = await office.work(office.executor("two"), action_id)
    assert action.state is ActionState.SUCCEEDED


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    faults=st.lists(FAULTS, max_size=40),
    repeat=st.sampled_from(quirks.Repeat),
)
async def test_whatever_fails_every_effect_happens_once_and_nothing_is_reopened(
    office: Office, faults: list[str | None], repeat: quirks.Repeat
) -> None:
    before = len(office.effects)
    office.account.habits.repeat = repeat
    left = list(faults)
    now: list[str | None] = [None]

    def cut(_request: httpx.Request, when: str) -> bool:
        if when == "before":
            now[0] = left.pop() if left else None
        return now[0] == when

    office.line.cut = cut
    expected: Counter[tuple[str, str]] = Counter()
    ids = []
    for operation in (*CHANGES, "AcknowledgeIncident", "AcknowledgeIncident", "ResolveIncident", "ResolveIncident"):
        incident = prepared(office, operation)
        ids.append(office.ask(operation, **parameters(office, operation, incident)))
        expected[incident.id, CHANGES[operation]] += 1
    ended = await office.work(office.executor(), *ids)
    assert {each.state for each in ended} == {ActionState.SUCCEEDED}
    effects = office.effects[before:]
    assert Counter((each.incident_id, each.what) for each in effects) == expected
    assert not any(each.reopened for each in effects)


async def test_an_incident_that_is_resolved_while_an_acknowledgement_waits_for_a_permit_stays_resolved(
    database: Database, clock: ManualClock
) -> None:
    async with opened(database, clock, Limits(calls=2)) as office:
        incident = office.incident()
        executor = office.executor()

        def resolve() -> None:
            if incident.is_open:
                office.account.resolve(incident.id)

        office.on_sleep = resolve
        action_id = office.ask("AcknowledgeIncident", incidentId=incident.id, userId=office.alice)
        await office.work(executor, action_id)
        assert office.effects == []
        assert incident.status is IncidentStatus.RESOLVED


@pytest.mark.parametrize("odd", [{}, {"incident": None}, {"incident": {"id": "P1"}}])
async def test_a_response_without_the_incident_is_requested_again(office: Office, odd: dict[str, Any]) -> None:
    incident = office.incident()
    office.account.resolve(incident.id)
    office.line.instead = [("GET", f"/incidents/{incident.id}", odd)]
    done = await office.carry_out("AcknowledgeIncident", incidentId=incident.id, userId=office.alice)
    assert (done.outcome, done.runs, office.effects) == (Outcome.OVERTAKEN, 2, [])


async def test_an_action_whose_outcome_could_not_be_saved_is_retried_by_the_same_daemon(office: Office) -> None:
    incident = office.incident()
    executor = office.executor()
    action_id = office.ask("ResolveIncident", incidentId=incident.id, userId=office.alice)
    office.database.write_now(action_queue.claim, "acme", "one", office.clock(), 1)  # a go that ended in the dark
    assert office.action(action_id).state is ActionState.RUNNING
    (done,) = await office.work(executor, action_id)
    assert done.state is ActionState.SUCCEEDED


async def test_actions_claimed_by_an_unknown_daemon_return_to_the_queue(office: Office) -> None:
    action_id = office.ask("GetUser", userId=office.alice)
    office.database.write_now(action_queue.claim, "acme", "gone", office.clock(), 1)
    office.database.write_now(action_queue.release, ())
    assert office.action(action_id).state is ActionState.QUEUED


async def test_a_requested_pause_cannot_postpone_an_action_for_a_day(office: Office) -> None:
    incident = office.incident()
    office.line.instead = [("PUT", f"/incidents/{incident.id}", 503)]
    executor = office.executor()
    action_id = office.ask("ResolveIncident", incidentId=incident.id, userId=office.alice)
    await executor.run_once()
    office.clock.advance(301)
    (done,) = await office.work(executor, action_id, hours=0.01)
    assert (done.state, done.runs) == (ActionState.SUCCEEDED, 2)


async def test_an_escalation_to_the_same_policy_in_the_same_second_takes_effect_once(office: Office) -> None:
    incident = office.incident()
    policy = office.account.directory.policies[1].id
    await office.carry_out("EscalateIncident", incidentId=incident.id, userId=office.alice, policyId=policy)
    cut = [False]

    def lose_the_answer(request: httpx.Request, when: str) -> bool:
        if request.method == "PUT" and when == "after" and not cut[0]:
            cut[0] = True
            return True
        return False

    office.line.cut = lose_the_answer
    office.on_sleep = lambda: None
    before = len(office.effects)
    action_id = office.ask("EscalateIncident", incidentId=incident.id, userId=office.alice, policyId=policy)
    executor = office.executor()
    await executor.run_once()
    office.clock.advance(1)
    (action,) = await office.work(executor, action_id)
    assert (action.state, len(office.effects) - before) == (ActionState.SUCCEEDED, 1)


async def test_an_incident_is_created_although_the_rest_api_stays_down(office: Office) -> None:
    cut = [True]

    def break_rest(request: httpx.Request, when: str) -> bool:
        if request.url.path.endswith("create_event.json") and when == "after" and cut[0]:
            cut[0] = False
            return True
        return request.url.path == "/incidents"

    office.line.cut = break_rest
    key = office.account.directory.services[0].key
    action = await office.carry_out("CreateIncident", service_key=key, description="Disk full")
    assert action.state is ActionState.SUCCEEDED
    assert action.runs > create_incident.LOOKS
    assert len(office.account.incidents) == 1


async def test_a_queued_action_can_be_cancelled_and_a_finished_one_cannot(office: Office) -> None:
    incident = office.incident()
    ids = [office.ask("ResolveIncident", incidentId=incident.id, userId=office.alice) for _ in range(2)]
    cancelled = office.database.write_now(action_queue.cancel, ids[0], office.clock())
    assert cancelled is not None
    assert (cancelled.state, cancelled.error) == (
        ActionState.FAILED,
        {"code": "cancelled", "message": "cancelled while it was queued"},
    )
    await office.work(office.executor(), ids[1])
    for each in (*ids, "act_unknown"):
        assert office.database.write_now(action_queue.cancel, each, office.clock()) is None
    assert len(office.effects) == 1
