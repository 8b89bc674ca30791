"""From the journal to messages: which target gets which event, and several events in one message."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from daemon.fan_out import matching
from daemon.fan_out.messages import LARGEST_BATCH, FanOut, FanOutResult
from daemon.formats import samples
from daemon.model import Batch, DeliveryState, Order
from daemon.settings import Options, Target, Trigger
from daemon.storage import claims, connections, due, journal, messages, schema, targets
from daemon.storage.database import Database
from daemon.views import delivery_list, event_list
from tests.conftest import START
from tests.delivery.loop_setup import delivering, states
from tests.harness.eventually import eventually
from tests.harness.receivers import SECRET, Receiver

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from daemon.model import Event

TRIGGERED = Trigger("new", ("incident.triggered",), "acme", ("flow", "ops"))
ASSIGNED = Trigger("assigned", ("incident.assigned",), "acme", ("duty", "ops"))


def target(name: str, url: str = "http://127.0.0.1:9/", **more: Any) -> Target:
    return Target(name, SecretStr(url), (SecretStr(SECRET),), **more)


FLOW = target("flow", format="connector", options=Options(batch=True))
OPS = target("ops")
DUTY = target("duty", format="pagerduty-v3")


def happening(count: int, kind: str = "incident.triggered", first: int = 0) -> list[Event]:
    """Return that many events, each of an incident of its own."""
    event = samples.event_of(samples.event(kind, connection="acme"))
    return [replace(event, id=f"evt_{number}", incident_id=f"P{number}") for number in range(first, first + count)]


def fan(database: Database, events: Sequence[Event], triggers: Sequence[Trigger], *receivers: Target) -> FanOutResult:
    """Put events into the journal and let the triggers read it."""

    def write(tx: sa.Connection) -> FanOutResult:
        now, names = database.now(tx), [trigger.name for trigger in triggers]
        connections.ensure(tx, ["acme"], triggers, now)
        targets.ensure(tx, [each.name for each in receivers])
        journal.append(tx, events)
        fan_out = FanOut("acme", triggers, {each.name: each for each in receivers})
        return fan_out.part(tx, names, matching.Index(triggers, {}), now)

    return database.write_now(write)


def deliveries(database: Database, name: str) -> list[Any]:
    """Return what a target is to get, in order."""
    of_target = sa.select(schema.deliveries).where(schema.deliveries.c.target == name)
    return list(database.read_now(lambda tx: tx.execute(of_target.order_by(schema.deliveries.c.id)).all()))


def events_of(database: Database, message_id: str) -> list[str]:
    """Return the events that a message tells of."""
    message = database.read_now(messages.load, [message_id])[message_id]
    assert isinstance(message.about, Batch)
    return [event.id for event in message.about.events]


def test_a_target_gets_no_delivery_that_its_format_does_not_support(database: Database) -> None:
    at_creation, later = happening(2, "incident.assigned")
    entry = {"id": "R1", "type": "assign_log_entry", "channel": "auto"}
    at_creation = replace(at_creation, payload=at_creation.payload | {"log_entry": entry})
    fanned = fan(database, [at_creation, later], [ASSIGNED], DUTY, OPS)
    assert [row.incident_id for row in deliveries(database, "duty")] == ["P1"]
    assert [row.incident_id for row in deliveries(database, "ops")] == ["P0", "P1"]
    assert fanned.messages == 2


def test_a_batching_target_gets_the_events_of_a_poll_in_one_message_and_others_get_one_each(database: Database) -> None:
    fanned = fan(database, happening(3), [TRIGGERED], FLOW, OPS)
    (batch,) = deliveries(database, "flow")
    assert events_of(database, batch.message_id) == ["evt_0", "evt_1", "evt_2"]
    assert [row.incident_id for row in deliveries(database, "ops")] == ["P0", "P1", "P2"]
    assert (fanned.messages, fanned.targets) == (4, frozenset({"flow", "ops"}))


def test_a_target_gets_only_the_events_that_its_format_supports(database: Database) -> None:
    everything = Trigger("all", ("incident.*",), "acme", ("duty", "ops"))
    happened = [*happening(1, "incident.snoozed"), *happening(1, "incident.resolved", first=1)]
    fan(database, happened, [everything], DUTY, OPS)
    assert [row.incident_id for row in deliveries(database, "duty")] == ["P1"]
    assert [row.incident_id for row in deliveries(database, "ops")] == ["P0", "P1"]


def test_events_of_different_types_are_in_different_messages(database: Database) -> None:
    everything = Trigger("all", ("incident.*",), "acme", ("flow",))
    happened = [*happening(2), *happening(1, "incident.annotated", first=2), *happening(1, first=3)]
    fan(database, happened, [everything], FLOW)
    rows = deliveries(database, "flow")
    assert [events_of(database, row.message_id) for row in rows] == [["evt_0", "evt_1", "evt_3"], ["evt_2"]]
    kinds = [database.read_now(messages.load, [row.message_id])[row.message_id].type for row in rows]
    assert kinds == ["incident.triggered", "incident.annotated"]


def test_a_message_contains_at_most_a_hundred_events_and_the_rest_follow_in_order(database: Database) -> None:
    fan(database, happening(2 * LARGEST_BATCH + 1), [TRIGGERED], FLOW, OPS)
    held = [events_of(database, row.message_id) for row in deliveries(database, "flow")]
    assert [len(each) for each in held] == [100, 100, 1]
    assert [event for each in held for event in each] == [f"evt_{number}" for number in range(201)]


def test_every_trigger_of_a_target_has_its_own_messages(database: Database) -> None:
    other = replace(TRIGGERED, name="same", to=("flow",))
    fan(database, happening(1), [TRIGGERED, other], FLOW, OPS)
    rows = deliveries(database, "flow")
    assert len({row.message_id for row in rows}) == 2
    assert [events_of(database, row.message_id) for row in rows] == [["evt_0"]] * 2


def test_reading_the_same_window_again_builds_the_same_message(database: Database) -> None:
    fan(database, happening(3), [TRIGGERED], FLOW, OPS)
    (once,) = deliveries(database, "flow")
    database.write_now(lambda tx: tx.execute(schema.triggers.update().values(watermark=0)))
    fan(database, [], [TRIGGERED], FLOW, OPS)
    assert deliveries(database, "flow") == [once]
    assert events_of(database, once.message_id) == ["evt_0", "evt_1", "evt_2"]


def test_batches_of_a_target_are_sent_one_after_the_other(database: Database) -> None:
    fan(database, happening(101), [TRIGGERED], FLOW, OPS)
    claimed = database.write_now(claims.claim, {"flow": due.ClaimRequest(Order.PER_INCIDENT, 10)}, "one", START)
    assert [len(run.deliveries) for run in claimed["flow"].runs] == [2]


def test_events_are_kept_as_long_as_the_batch_that_contains_them(database: Database) -> None:
    fan(database, happening(2), [replace(TRIGGERED, to=("flow",))], FLOW)
    (row,) = deliveries(database, "flow")

    def prune(tx: sa.Connection, now: Any) -> tuple[int, int]:
        pruned = messages.prune(tx, delivered=timedelta(days=7), dead=timedelta(days=30), now=now, limit=100)
        return pruned, journal.prune(tx, ["new"], now - timedelta(days=30), 100, messages.needed_events())

    def deliver(tx: sa.Connection) -> None:
        values = {"state": DeliveryState.DELIVERED.value, "finished_at": database.now(tx)}
        tx.execute(schema.deliveries.update().values(values))

    later = START + timedelta(days=60)
    assert database.write_now(prune, later) == (0, 0)
    assert events_of(database, row.message_id) == ["evt_0", "evt_1"]
    database.write_now(deliver)
    assert database.write_now(prune, later) == (1, 2)

    def left(tx: sa.Connection) -> list[Any]:
        tables = (schema.messages, schema.batched, schema.events, schema.deliveries)
        return [row for table in tables for row in tx.execute(sa.select(table))]

    assert database.read_now(left) == []


@pytest.fixture
def batch(database: Database) -> int:
    """Return the id of the delivery of a batch of three events."""
    fan(database, happening(3), [replace(TRIGGERED, to=("flow",))], FLOW)
    return int(deliveries(database, "flow")[0].id)


def test_a_batch_is_shown_with_its_events(database: Database, batch: int) -> None:
    found = database.read_now(delivery_list.find, batch)
    assert found is not None
    item = found.delivery
    assert (item.type, item.connection, item.trigger, item.event_id) == ("incident.triggered", "acme", "new", None)
    assert [event.incident_id for event in found.batch] == ["P0", "P1", "P2"]
    assert found.event is None


def test_a_batch_is_listed_under_each_of_its_incidents_and_its_events_under_the_trigger(
    database: Database, batch: int
) -> None:
    def found(**filters: Any) -> Collection[int]:
        return [item.id for item in database.read_now(lambda tx: delivery_list.read(tx, **filters)).items]

    assert found(incident="P0") == found(incident="P2") == found(trigger="new") == [batch]
    assert found(incident="P3") == []
    events = database.read_now(lambda tx: event_list.read(tx, trigger="new")).items
    assert [event.incident_id for event in events] == ["P0", "P1", "P2"]


async def test_a_receiver_gets_the_batch_as_a_list(database_url: str) -> None:
    database, receiver = Database(database_url), Receiver()
    fan(database, happening(3), [replace(TRIGGERED, to=("flow",))], FLOW)
    async with receiver.serving() as url, delivering(database, replace(FLOW, url=SecretStr(url))):
        await eventually(lambda: states(database), {"delivered": 1})
    database.close()
    assert [incident["id"] for incident in receiver.got[0].json["incidents"]] == ["P0", "P1", "P2"]


def with_incident(event: Event, **more: Any) -> Event:
    """Return the event with some of its incident's fields changed."""
    return replace(event, payload=event.payload | {"incident": event.payload["incident"] | more})


def condition_error(database: Database, name: str) -> str | None:
    """Return what a trigger's row says is wrong."""
    chosen = sa.select(schema.triggers.c.last_error).where(schema.triggers.c.name == name)
    error: str | None = database.read_now(lambda tx: tx.execute(chosen).scalar_one())
    return error


def test_a_trigger_sends_only_events_that_match_its_condition(database: Database) -> None:
    picky = replace(TRIGGERED, condition="data.incident.urgency == 'low' && data.trigger == 'new'")
    high, low = *happening(1), with_incident(*happening(1, first=1), urgency="low")
    fanned = fan(database, [high, low], [picky, replace(TRIGGERED, name="all", to=("ops",))], FLOW, OPS)
    assert [row.incident_id for row in deliveries(database, "ops")] == ["P0", "P1", "P1"]
    assert events_of(database, deliveries(database, "flow")[0].message_id) == ["evt_1"]
    assert fanned.condition_errors == {"new": None}
    assert condition_error(database, "new") is None
    seen = sa.select(schema.triggers.c.watermark)
    assert set(database.read_now(lambda tx: tx.execute(seen).scalars().all())) == {2}, "read, though not sent"


def test_a_condition_sees_the_event_type_that_its_trigger_subscribed_to(database: Database) -> None:
    narrow = Trigger("narrow", ("incident.escalated",), "acme", ("ops",), condition="type == 'incident.escalated'")
    wide = Trigger("wide", ("incident.*",), "acme", ("ops",), condition="type == 'incident.escalated'")
    fan(database, happening(1, "incident.assigned"), [narrow, wide], OPS)
    assert len(deliveries(database, "ops")) == 1


def test_a_failing_condition_lets_the_message_pass_and_is_reported_until_it_recovers(database: Database) -> None:
    picky = replace(TRIGGERED, to=("ops",), condition="length(data.incident.title) > `1000`")
    bad, good = with_incident(*happening(1), title=None), happening(1, first=1)
    fanned = fan(database, [bad, *good], [picky], OPS)
    assert [row.incident_id for row in deliveries(database, "ops")] == ["P0"]
    why = "the condition fails for some messages, which are sent nevertheless: length() does not take null"
    assert fanned.condition_errors == {"new": why}
    assert condition_error(database, "new") == why
    assert fan(database, happening(1, first=2), [picky], OPS).condition_errors == {"new": None}
    assert condition_error(database, "new") is None
    assert [row.incident_id for row in deliveries(database, "ops")] == ["P0"]


def test_many_conditions_are_evaluated_in_several_transactions_without_omissions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.fan_out.messages.MOST_CONDITIONS", 6)
    picky = [replace(TRIGGERED, name=name, to=("ops",), condition="data.incident") for name in ("a", "b", "c")]
    fanned = fan(database, happening(5), picky, OPS)
    assert (fanned.messages, fanned.more) == (6, True)
    assert (fan(database, [], picky, OPS).messages, fan(database, [], picky, OPS).messages) == (6, 3)


def test_a_start_clears_the_condition_errors_of_a_trigger(database: Database) -> None:
    fan(database, [], [TRIGGERED], FLOW, OPS)
    database.write_now(connections.record_trigger_error, "new", "no such user")
    database.write_now(connections.ensure, ["acme"], [TRIGGERED], START)
    assert condition_error(database, "new") is None
