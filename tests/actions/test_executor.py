"""The executor: order, batches, patience, replicas, and notified targets."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import sqlalchemy as sa

from daemon import errors
from daemon.formats import standard
from daemon.model import ActionState, IncidentStatus, Outcome
from daemon.simulator import quirks
from daemon.storage import action_queue, messages, schema, targets
from tests.harness.eventually import eventually

if TYPE_CHECKING:
    import httpx

    from daemon.model import Json
    from tests.actions.conftest import Office

BULKS = list(quirks.Bulk)


async def test_actions_are_carried_out_in_the_order_of_their_arrival(office: Office) -> None:
    incidents = [office.incident() for _ in range(3)]
    ids = [office.ask("AddNoteToIncident", incidentId=each.id, userId=office.alice, note="x") for each in incidents]
    ended = await office.work(office.executor(), *ids)
    assert [each.incident_id for each in office.effects] == [each.id for each in incidents]
    assert [each.created_at for each in ended] == sorted(each.created_at for each in ended)


async def test_actions_on_one_incident_run_in_order_and_others_overtake(office: Office) -> None:
    incident, other = office.incident(), office.incident()

    def cut(request: httpx.Request, when: str) -> bool:
        return when == "before" and request.method == "POST" and incident.id in request.url.path

    office.line.cut = cut
    executor = office.executor()
    note = office.ask("AddNoteToIncident", incidentId=incident.id, userId=office.alice, note="first")
    resolve = office.ask("ResolveIncident", incidentId=incident.id, userId=office.alice)
    passing = office.ask("AddNoteToIncident", incidentId=other.id, userId=office.alice, note="second")
    await office.work(executor, passing)
    assert office.action(note).state is ActionState.QUEUED
    assert office.action(note).error is not None
    assert office.action(resolve).runs == 0
    office.line.cut = lambda _request, _when: False
    await office.work(executor, resolve)
    assert [(each.incident_id, each.what) for each in office.effects] == [
        (other.id, "annotate"),
        (incident.id, "annotate"),
        (incident.id, "resolve"),
    ]


async def test_300_acknowledgements_take_only_a_few_calls(office: Office) -> None:
    incidents = [office.incident() for _ in range(300)]
    ids = office.ask_all("AcknowledgeIncident", ({"incidentId": each.id, "userId": office.alice} for each in incidents))
    ended = await office.work(office.executor(), *ids)
    assert {each.outcome for each in ended} == {Outcome.DONE}
    assert all(each.result and each.result["status"] == "acknowledged" for each in ended)
    assert [len(body["incidents"]) for _, body in office.sent("PUT")] == [250, 50]
    assert len(office.line.requests) <= 15
    assert len(office.effects) == 300


async def test_a_batch_has_one_user_and_one_change(office: Office) -> None:
    bob, carol = (office.account.directory.user(name).id for name in ("bob", "carol"))
    incidents = [office.incident() for _ in range(6)]
    ids = [
        office.ask("ReassignIncident", incidentId=each.id, userId=user, reassignUserId=to)
        for each, (user, to) in zip(
            incidents, [(office.alice, bob), (office.alice, carol), (bob, carol)] * 2, strict=True
        )
    ]
    await office.work(office.executor(), *ids)
    together = [[each["id"] for each in body["incidents"]] for _, body in office.sent("PUT")]
    assert together == [[incidents[first].id, incidents[first + 3].id] for first in range(3)]


@pytest.mark.parametrize("bulk", BULKS)
@pytest.mark.parametrize("repeat", quirks.Repeat)
async def test_after_a_partial_failure_only_the_failed_part_of_a_batch_is_split(
    office: Office, bulk: quirks.Bulk, repeat: quirks.Repeat
) -> None:
    office.account.habits.bulk, office.account.habits.repeat = bulk, repeat
    incidents = [office.incident() for _ in range(20)]
    named = [each.id for each in incidents]
    named[7] = "PNONE"
    ids = office.ask_all("ResolveIncident", ({"incidentId": each, "userId": office.alice} for each in named))
    ended = await office.work(office.executor(), *ids)
    assert [each.state for each in ended] == [
        ActionState.FAILED if place == 7 else ActionState.SUCCEEDED for place in range(20)
    ]
    assert ended[7].error is not None
    assert ended[7].error["code"] == "not_found"
    assert len(office.line.requests) < 12
    assert sorted(each.incident_id for each in office.effects) == sorted(set(named) - {"PNONE"})


@pytest.mark.parametrize("bulk", BULKS)
async def test_a_batch_of_acknowledgements_does_not_reopen_resolved_incidents(
    office: Office, bulk: quirks.Bulk
) -> None:
    office.account.habits.bulk = bulk
    incidents = [office.incident() for _ in range(10)]
    for each in incidents[:3]:
        office.account.resolve(each.id)
    ids = office.ask_all("AcknowledgeIncident", ({"incidentId": each.id, "userId": office.alice} for each in incidents))
    ended = await office.work(office.executor(), *ids)
    assert [each.outcome for each in ended] == [Outcome.OVERTAKEN] * 3 + [Outcome.DONE] * 7
    assert not any(each.reopened for each in office.effects)


async def test_a_batch_whose_response_is_lost_is_not_repeated(office: Office) -> None:
    incidents = [office.incident() for _ in range(40)]
    lost = [False]

    def cut(request: httpx.Request, when: str) -> bool:
        if when == "after" and request.method == "PUT" and not lost[0]:
            lost[0] = True
            return True
        return False

    office.line.cut = cut
    ids = office.ask_all("ResolveIncident", ({"incidentId": each.id, "userId": office.alice} for each in incidents))
    ended = await office.work(office.executor(), *ids)
    assert {each.outcome for each in ended} == {Outcome.DONE}
    assert len(office.effects) == 40
    assert len(office.line.requests) < 10


async def test_an_unknown_assignee_fails_the_whole_batch_at_once(office: Office) -> None:
    incidents = [office.incident() for _ in range(30)]
    to_nobody = {"userId": office.alice, "reassignUserId": "PNONE"}
    ids = office.ask_all("ReassignIncident", ({"incidentId": each.id} | to_nobody for each in incidents))
    ended = await office.work(office.executor(), *ids)
    assert {each.error["code"] for each in ended if each.error} == {"assignee_not_found"}
    assert len(office.line.requests) < 6


async def test_an_action_with_lasting_temporary_errors_fails_after_a_while_with_a_reason(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.actions.executor.LOOK_SECONDS", 30.0)
    incident = office.incident()
    office.line.cut = lambda request, when: when == "before" and request.method == "PUT"
    action_id = office.ask("ResolveIncident", incidentId=incident.id, userId=office.alice)
    (failed,) = await office.work(office.executor(patience=timedelta(minutes=5)), action_id)
    assert failed.state is ActionState.FAILED
    assert failed.error is not None
    assert failed.error["code"] == "gave_up"
    assert "0:05:00" in failed.error["message"]
    assert 5 < failed.runs < 15


async def test_two_daemons_share_the_queue_and_run_each_action_once(office: Office) -> None:
    incidents = [office.incident() for _ in range(20)]
    ids = [office.ask("AddNoteToIncident", incidentId=each.id, userId=office.alice, note="x") for each in incidents]
    one, two = office.executor("one"), office.executor("two")
    await asyncio.gather(office.work(one, *ids), office.work(two, *ids))
    assert sorted(each.incident_id for each in office.effects) == sorted(each.id for each in incidents)
    assert {office.action(each).runs for each in ids} == {1}


async def test_the_same_key_returns_the_same_action_and_is_an_error_with_another_request(office: Office) -> None:
    incident = office.incident()
    parameters: dict[str, Any] = {"incidentId": incident.id, "userId": office.alice}
    first = office.ask("ResolveIncident", key="abc", **parameters)
    assert office.ask("ResolveIncident", key="abc", **parameters) == first
    with pytest.raises(errors.KeyReused):
        office.ask("AcknowledgeIncident", key="abc", **parameters)
    await office.work(office.executor(), first)
    assert office.ask("ResolveIncident", key="abc", **parameters) == first


def body_of(office: Office, message_id: str) -> Json:
    """Return the body that a target receives."""
    loaded = office.database.read_now(messages.load, [message_id])
    body: Json = orjson.loads(standard.body(loaded[message_id]))
    return body


async def test_the_outcome_is_sent_to_the_targets_of_the_action(office: Office) -> None:
    incident = office.incident()
    office.database.write_now(targets.ensure, ["ops", "chat"])
    done = office.ask("ResolveIncident", notify=("ops", "chat"), incidentId=incident.id, userId=office.alice)
    failed = office.ask("ResolveIncident", notify=("ops",), incidentId="PNONE", userId=office.alice)
    await office.work(office.executor(), done, failed)
    table = schema.deliveries
    rows = office.database.read_now(lambda tx: tx.execute(sa.select(table).order_by(table.c.id)).all())
    assert [(row.target, row.incident_id) for row in rows] == [
        ("ops", incident.id),
        ("chat", incident.id),
        ("ops", "PNONE"),
    ]
    assert rows[0].message_id == rows[1].message_id
    assert office.told == [{"ops", "chat"}, {"ops"}]
    body = body_of(office, rows[0].message_id)
    assert body["type"] == "action.succeeded"
    assert body["data"]["action"]["id"] == done
    assert body["data"]["action"]["result"]["status"] == "resolved"
    body = body_of(office, rows[2].message_id)
    assert (body["type"], body["data"]["action"]["error"]["code"]) == ("action.failed", "not_found")


async def test_an_integration_key_is_erased_when_the_action_ends_and_never_shown(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    office.database.write_now(targets.ensure, ["ops"])
    secret = "canary0123456789abcdef"
    failed = office.ask("CreateIncident", notify=("ops",), service_key=secret, description="x")
    await office.work(office.executor(), failed)
    assert office.action(failed).state is ActionState.FAILED

    def everything(tx: sa.Connection) -> str:
        tables = (schema.actions, schema.messages, schema.deliveries, schema.attempts)
        return str([tx.execute(sa.select(table)).all() for table in tables])

    assert secret not in office.database.read_now(everything)
    (message,) = office.database.read_now(lambda tx: list(tx.execute(sa.select(schema.messages.c.id)).scalars()))
    assert body_of(office, message)["data"]["action"]["parameters"]["service_key"] == "***"
    out, err = capsys.readouterr()
    assert secret not in out + err


async def test_running_actions_finish_or_return_to_the_queue_on_shutdown(office: Office) -> None:
    incident = office.incident()
    executor = office.executor()
    action_id = office.ask("ResolveIncident", incidentId=incident.id, userId=office.alice)
    running = asyncio.create_task(executor.run())
    await eventually(lambda: office.action(action_id).state, ActionState.SUCCEEDED)
    await executor.stop(timedelta(seconds=5))
    await asyncio.wait_for(running, 10)
    assert incident.status is IncidentStatus.RESOLVED


async def test_old_actions_are_pruned_with_their_keys_unless_a_message_refers_to_them(
    office: Office,
) -> None:
    office.database.write_now(targets.ensure, ["ops"])
    notifying = office.ask("GetUser", userId=office.alice, notify=("ops",))
    ended = office.ask("GetUser", userId=office.alice, key="abc")
    waiting = office.ask("AcknowledgeIncident", incidentId="P1", userId=office.alice)
    await office.work(office.executor(), notifying, ended)
    office.clock.advance(3600)
    pruned = office.database.write_now(action_queue.prune, timedelta(minutes=30), office.clock(), 100)
    assert pruned == 1
    assert office.database.read_now(action_queue.find, ended) is None
    assert office.action(notifying).state is ActionState.SUCCEEDED
    assert office.action(waiting).state is ActionState.QUEUED
    assert office.ask("GetUser", userId=office.alice, key="abc") != ended
