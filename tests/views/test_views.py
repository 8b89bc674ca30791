"""What people see of the database, on both kinds of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from daemon import errors
from daemon.storage import schema
from daemon.storage.database import Database
from daemon.views import action_list, connection_health, delivery_list, event_list, overview, target_health
from daemon.views.connection_health import CatchUpProgress
from daemon.views.health import Health
from daemon.views.target_health import origin
from tests.conftest import ManualClock
from tests.harness import plans, sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from daemon.settings import Settings
    from daemon.views.overview import Overview


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return sample_data.settings(tmp_path, database_url)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    yield from sample_data.shared_database(request, tmp_path_factory.mktemp("samples"), ManualClock())


@pytest.fixture
def filled(database: Database, clock: ManualClock) -> Database:
    database.write_now(sample_data.fill, clock.now)
    return database


def look(database: Database, settings: Settings, clock: ManualClock) -> Overview:
    parts = settings.connections, settings.triggers, settings.targets
    return database.read_now(overview.read, *parts, clock.now)


def test_an_empty_database_shows_everything_as_waiting(
    database: Database, settings: Settings, clock: ManualClock
) -> None:
    status = look(database, settings, clock)
    assert status.instances == ()
    assert status.journal == overview.Journal(0, None, None)
    assert {each.health for each in status.connections} == {Health.WAITING}
    assert {each.health for each in status.triggers} == {Health.WAITING}
    assert {each.health for each in status.targets} == {Health.WAITING}
    assert [each.budget.left for each in status.connections] == [30, 30]


def test_status_shows_healthy_and_failing_parts(filled: Database, settings: Settings, clock: ManualClock) -> None:
    status = look(filled, settings, clock)
    acme, beta = status.connections
    assert (acme.health, acme.open_incidents, acme.quarantined, acme.lag) == (Health.OK, 2, 0, 15.0)
    assert [(each.type, each.entries) for each in acme.unknown_entry_types] == [("teleport_log_entry", 3)]
    assert acme.unknown_entry_types[0].first_seen_at == clock.now - timedelta(minutes=1)
    assert beta.unknown_entry_types == ()
    assert acme.budget == connection_health.Budget(calls=30, period=60.0, used=4, left=26)
    assert (beta.health, beta.quarantined, beta.last_error) == (Health.FAILING, 1, "401 2006 Authentication failed")
    chat, ops = status.targets
    assert (chat.health, chat.pending, chat.oldest_pending_at, chat.dead) == (Health.OK, 0, None, 0)
    assert (ops.health, ops.pending, ops.dead) == (Health.FAILING, 2, 1)
    assert ops.oldest_pending_at == clock.now - timedelta(minutes=3)
    new, done = status.triggers
    assert (new.behind, new.to, new.on, new.health) == (
        2,
        ("ops", "chat"),
        ("incident.triggered",),
        Health.BEHIND,
    )
    assert done.behind == 1
    assert status.journal.events == 5


def test_the_number_of_events_in_a_large_journal_is_estimated_from_their_own_numbers(
    filled: Database, settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.write_now(lambda tx: tx.execute(schema.events.delete().where(schema.events.c.seq == 1)) and None)
    filled.write_now(sample_data.insert, schema.events, sample_data.event(9, clock.now))
    assert look(filled, settings, clock).journal.events == 5
    monkeypatch.setattr(overview, "MOST_COUNTED", 5)
    assert look(filled, settings, clock).journal.events == 8, "2 to 9"


def test_a_daemon_without_a_heartbeat_for_a_minute_is_not_shown(
    filled: Database, settings: Settings, clock: ManualClock
) -> None:
    assert [each.id for each in look(filled, settings, clock).instances] == ["a"]


def test_names_removed_from_the_configuration_are_not_shown(
    filled: Database, settings: Settings, clock: ManualClock
) -> None:
    one = {"ops": settings.targets["ops"]}
    found = filled.read_now(target_health.read, one, clock.now)
    assert [each.name for each in found] == ["ops"]
    assert filled.read_now(connection_health.read, {}, (), clock.now) == ()


def test_blocked_late_and_new_connections_have_their_own_state(
    database: Database, settings: Settings, clock: ManualClock
) -> None:
    now = clock.now
    blocked = sample_data.connection("acme", now, blocked_until=now + timedelta(seconds=40))
    database.write_now(sample_data.insert, schema.connections, blocked, sample_data.connection("beta", now))
    assert [each.health for each in look(database, settings, clock).connections] == [Health.BLOCKED, Health.OK]
    clock.advance(120)
    status = look(database, settings, clock)
    assert [each.health for each in status.connections] == [Health.LATE, Health.LATE]
    assert status.connections[0].blocked_until is None


def test_a_poll_that_reads_the_log_of_a_downtime_shows_how_far_it_has_come(
    filled: Database, settings: Settings, clock: ManualClock
) -> None:
    now = clock()
    began = {"last_success_at": now - timedelta(hours=4), "last_poll_at": now - timedelta(minutes=2), "polled_by": "a"}

    def read_up_to(hours: float, **values: Any) -> CatchUpProgress | None:
        row = began | {"watermark": now - timedelta(hours=hours)} | values
        mine = schema.connections.c.name == "acme"
        filled.write_now(lambda tx: tx.execute(schema.connections.update().where(mine).values(row)) and None)
        return look(filled, settings, clock).connections[0].catch_up

    assert read_up_to(1) == CatchUpProgress(done=0.75, left=40.0)
    assert read_up_to(4) is None, "nothing was read yet"
    assert read_up_to(0) is None, "it has caught up"
    assert read_up_to(1, polled_by=None) is None, "nobody reads"


def test_a_paused_target_has_the_state_paused(filled: Database, settings: Settings, clock: ManualClock) -> None:
    pause = schema.targets.update().where(schema.targets.c.name == "ops").values(paused_at=clock.now)
    filled.write_now(lambda tx: tx.execute(pause) and None)
    found = filled.read_now(target_health.read, settings.targets, clock.now)
    assert [(each.health, each.paused) for each in found] == [(Health.OK, False), (Health.PAUSED, True)]


def test_targets_that_asked_for_a_pause_or_have_no_deliveries_yet_have_their_own_state(
    database: Database, settings: Settings, clock: ManualClock
) -> None:
    def health() -> list[Health]:
        return [each.health for each in database.read_now(target_health.read, settings.targets, clock.now)]

    now = clock.now
    asked = {"name": "chat", "last_success_at": now, "blocked_until": now + timedelta(seconds=40)}
    database.write_now(sample_data.insert, schema.targets, asked, {"name": "ops"})
    assert health() == [Health.BLOCKED, Health.WAITING]
    clock.advance(40)
    assert health() == [Health.OK, Health.WAITING]
    database.write_now(sample_data.insert, schema.events, sample_data.event(1, now))
    database.write_now(sample_data.insert, schema.messages, sample_data.message(1, now))
    database.write_now(sample_data.insert, schema.deliveries, sample_data.delivery(1, now))
    assert health()[1] == Health.WAITING
    later = sample_data.delivery(2, now, message_id="msg_2")
    database.write_now(sample_data.insert, schema.deliveries, later | {"attempts": 1})
    assert health()[1] == Health.FAILING, "the oldest delivery is not the one that was tried"
    dead = schema.deliveries.update().values(state="dead", finished_at=now)
    database.write_now(lambda tx: tx.execute(dead) and None)
    assert health()[1] == Health.FAILING


def test_a_connection_is_ready_for_three_poll_intervals_after_a_successful_poll(
    filled: Database, settings: Settings, clock: ManualClock
) -> None:
    def unready() -> list[str]:
        return filled.read_now(
            connection_health.read_unready, settings.connections, settings.triggers.values(), clock.now
        )

    clock.advance(78)  # the last success was 12 s ago, and every poll may take 30 s
    assert unready() == []
    clock.advance(1)
    assert unready() == [
        "connection acme: not polled for 91 s",
        "connection beta: not polled for 91 s (401 2006 Authentication failed)",
    ]


def test_a_connection_stays_ready_while_it_catches_up_after_a_downtime(
    filled: Database, settings: Settings, clock: ManualClock
) -> None:
    now = clock()
    downtime = {"last_success_at": now - timedelta(hours=4), "last_poll_at": now - timedelta(minutes=2)}
    reading = downtime | {"polled_by": "a", "watermark": now - timedelta(hours=1), "failing_since": None}

    def is_ready(**values: Any) -> bool:
        mine = schema.connections.c.name == "acme"
        filled.write_now(
            lambda tx: tx.execute(schema.connections.update().where(mine).values(reading | values)) and None
        )
        acme = {"acme": settings.connections["acme"]}
        return not filled.read_now(connection_health.read_unready, acme, settings.triggers.values(), now)

    assert is_ready()
    assert not is_ready(polled_by=None), "nobody reads"
    assert not is_ready(watermark=now - timedelta(hours=4)), "nothing has been read yet"
    assert not is_ready(failing_since=now - timedelta(minutes=1)), "its polls fail"


def test_readiness_takes_the_intervals_of_the_triggers_into_account(
    database: Database, settings: Settings, clock: ManualClock
) -> None:
    database.write_now(sample_data.insert, schema.connections, sample_data.connection("acme", clock.now))
    acme = {"acme": settings.connections["acme"]}
    slow = replace(settings.triggers["new"], every=timedelta(minutes=10))
    clock.advance(600)
    assert database.read_now(connection_health.read_unready, acme, [slow], clock.now) == []
    assert database.read_now(connection_health.read_unready, acme, [slow, settings.triggers["new"]], clock.now) != []


def test_pages_of_the_journal_are_complete_while_it_is_pruned_and_grows(database: Database, clock: ManualClock) -> None:
    database.write_now(
        sample_data.insert, schema.events, *(sample_data.event(number, clock.now) for number in range(1, 8))
    )
    first = database.read_now(event_list.read, limit=3)
    assert [each.id for each in first.items] == ["evt_1", "evt_2", "evt_3"]
    gone = schema.events.delete().where(schema.events.c.seq.in_([2, 3, 4]))
    database.write_now(lambda tx: tx.execute(gone) and None)
    database.write_now(sample_data.insert, schema.events, sample_data.event(8, clock.now))
    second = database.read_now(event_list.read, limit=3, after=first.next)
    third = database.read_now(event_list.read, limit=3, after=second.next)
    assert [each.id for each in (*second.items, *third.items)] == ["evt_5", "evt_6", "evt_7", "evt_8"]
    assert third.next is None


def test_the_last_page_comes_oldest_first_too(samples: Database) -> None:
    page = samples.read_now(event_list.read, limit=2, last=True)
    assert [each.cursor for each in page.items] == ["4", "5"]
    assert [each.id for each in samples.read_now(delivery_list.read, limit=2, last=True).items] == [4, 5]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"incident": "P3"}, ["evt_3"]),
        ({"type": "incident.resolved"}, ["evt_5"]),
        ({"type": "OnIncidentResolved"}, ["evt_5"]),
        ({"connection": "beta"}, ["evt_5"]),
        ({"trigger": "new"}, ["evt_1", "evt_2", "evt_3", "evt_4"]),
        ({"trigger": "done"}, ["evt_5"]),
        ({"trigger": "new", "incident": "P5"}, []),
    ],
)
def test_events_can_be_filtered(samples: Database, filters: dict[str, str], found: list[str]) -> None:
    assert [each.id for each in samples.read_now(event_list.read, **filters).items] == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"state": "pending"}, [3, 4]),
        ({"state": "retrying"}, [3]),
        ({"state": "retrying", "target": "chat"}, []),
        ({"state": "delivered"}, [1, 5]),
        ({"state": "dead"}, [2]),
        ({"target": "chat"}, [1, 5]),
        ({"trigger": "done"}, [5]),
        ({"incident": "P2"}, [2]),
        ({"target": "chat", "state": "dead"}, []),
    ],
)
def test_deliveries_can_be_filtered(samples: Database, filters: dict[str, str], found: list[int]) -> None:
    assert [each.id for each in samples.read_now(delivery_list.read, **filters).items] == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("view", "filters", "message"),
    [
        (
            event_list.read,
            {"type": "incident.opened"},
            'unknown event type "incident.opened" (known: incident.triggered, ',
        ),
        (event_list.read, {"connection": "acne"}, 'unknown connection "acne" (did you mean "acme"?)'),
        (event_list.read, {"trigger": "nope"}, 'unknown trigger "nope"'),
        (event_list.read, {"after": "-1"}, 'invalid cursor in "after"'),
        (event_list.read, {"after": "1 or 1"}, 'invalid cursor in "after"'),
        (event_list.read, {"incident": "a\x00b"}, 'invalid id "a\ufffdb"'),
        (event_list.read, {"limit": 501}, "limit is 501, must be 1 to 500"),
        (
            delivery_list.read,
            {"state": "lost"},
            'unknown delivery state "lost" (known: pending, retrying, delivered, dead)',
        ),
        (delivery_list.read, {"target": "op"}, 'unknown target "op" (did you mean "ops"?)'),
        (delivery_list.read, {"limit": 0}, "limit is 0, must be 1 to 500"),
    ],
)
def test_a_filter_with_an_unknown_name_is_an_error(
    samples: Database, view: object, filters: dict[str, object], message: str
) -> None:
    with pytest.raises(errors.UsageError) as caught:
        samples.read_now(view, **filters)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_cursor_after_the_last_row_returns_an_empty_page(samples: Database) -> None:
    page = samples.read_now(event_list.read, after="9" * 19)
    assert (page.items, page.next) == ([], None)


def test_a_delivery_is_shown_with_its_attempts_and_its_event(samples: Database) -> None:
    found = samples.read_now(delivery_list.find, 3)
    assert found is not None
    assert [(each.status, each.error) for each in found.attempts] == [
        (None, "no response within 15 s"),
        (503, "answered 503"),
    ]
    assert (found.delivery.trigger, found.delivery.type) == ("new", "incident.triggered")
    assert found.event is not None
    assert found.event.incident["title"] == sample_data.HOSTILE
    assert samples.read_now(delivery_list.find, 99) is None
    assert samples.read_now(delivery_list.find, 2**70) is None


def test_a_delivery_whose_message_was_pruned_is_still_shown(filled: Database) -> None:
    filled.write_now(lambda tx: tx.execute(schema.messages.delete()) and None)
    found = filled.read_now(delivery_list.find, 2)
    assert found is not None
    assert (found.delivery.trigger, found.event) == (None, None)


def test_running_deliveries_are_those_that_are_claimed(samples: Database) -> None:
    assert [each.id for each in samples.read_now(delivery_list.read).items if each.running] == [4]


@pytest.mark.parametrize(
    ("target", "waits_for", "minutes"),
    [
        ({}, None, 0),
        ({"failing_since": -5, "probe_at": 2}, Health.FAILING, 2),
        ({"failing_since": -5, "probe_at": -1}, None, 0),
        ({"failing_since": -5, "probe_at": 0}, Health.FAILING, 0),
        ({"failing_since": -5, "probe_at": 2, "blocked_until": 7}, Health.FAILING, 7),
        ({"blocked_until": 7}, Health.BLOCKED, 7),
        ({"blocked_until": -2}, None, 0),
        ({"probe_at": 2}, None, 0),
        ({"paused_at": -1, "failing_since": -5, "probe_at": 2}, Health.PAUSED, None),
    ],
)
def test_a_delivery_behind_its_target_says_what_it_waits_for_and_until_when(
    filled: Database, clock: ManualClock, target: dict[str, int], waits_for: Health | None, minutes: int | None
) -> None:
    def after(number: int) -> datetime:
        return clock.now + timedelta(minutes=number)

    unset = dict.fromkeys(("failing_since", "probe_at", "blocked_until", "paused_at"))
    values = unset | {name: after(number) for name, number in target.items()}
    filled.write_now(lambda tx: tx.execute(schema.targets.update().values(values)) and None)
    due = schema.deliveries.update().where(schema.deliveries.c.id == 3).values(next_attempt_at=clock.now)
    filled.write_now(lambda tx: tx.execute(due) and None)
    items = {each.id: each for each in filled.read_now(delivery_list.read).items}
    assert (items[3].waits_for_target, items[3].next_attempt_at) == (
        waits_for,
        None if minutes is None else after(minutes),
    )
    assert items[4].waits_for_target is None, "it is being sent"
    assert (items[2].waits_for_target, items[2].next_attempt_at) == (None, None), "it is dead"


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://hooks.example.com/services/T0/B0/secret", "https://hooks.example.com/…"),
        ("https://user:word@hooks.example.com:8443/?token=x", "https://hooks.example.com:8443/…"),
        ("http://127.0.0.1:9/", "http://127.0.0.1:9"),
    ],
)
def test_only_scheme_host_and_port_of_a_url_are_shown(url: str, seen: str) -> None:
    assert origin(url) == seen


def test_no_secret_is_in_any_view(filled: Database, settings: Settings, clock: ManualClock) -> None:
    text = repr(look(filled, settings, clock))
    assert [each for each in sample_data.CANARIES if each in text] == []


def test_no_view_scans_all_deliveries_or_all_actions(tmp_path: Path, clock: ManualClock) -> None:
    url = f"sqlite:///{tmp_path / 'plans.db'}"  # PostgreSQL's plans depend on how much is in the tables
    filled, settings = Database(url, clock=clock), sample_data.settings(tmp_path, url)
    filled.upgrade()
    filled.write_now(sample_data.fill, clock.now)
    plans: list[str] = []

    def explain(connection: sa.Connection, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            raw = connection.connection.cursor()
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
            plans.extend(row[3] for row in raw.fetchall())

    def look_at_everything(tx: sa.Connection) -> None:
        sa.event.listen(tx, "before_cursor_execute", explain)
        overview.read(tx, settings.connections, settings.triggers, settings.targets, clock.now)
        for state in ("pending", "retrying", "dead"):
            delivery_list.read(tx, state=state)
        delivery_list.read(tx, incident="P1")
        for unfinished in ("queued", "running"):
            action_list.read(tx, state=unfinished)
        action_list.read(tx, incident="P1")
        action_list.read(tx, after="3")
        action_list.find(tx, "act_3")
        delivery_list.read(tx, after="3")
        delivery_list.find(tx, 3)

    filled.read_now(look_at_everything)
    assert len(plans) > 20
    assert [plan for plan in plans if plan in {"SCAN deliveries", "SCAN actions"}] == []
    filled.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_number_about_targets_is_found_by_going_through_all_deliveries(
    filled: Database, settings: Settings, clock: ManualClock
) -> None:
    def look(tx: sa.Connection) -> None:
        tx.execute(schema.targets.update().values(last_success_at=None))
        target_health.read(tx, settings.targets, clock.now)

    steps = plans.of_work(filled, look)
    assert len(steps) > 3
    assert plans.through_all(steps) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_lists_of_a_trigger_and_of_dead_and_retrying_deliveries_are_read_in_their_order(filled: Database) -> None:
    def look(tx: sa.Connection) -> None:
        delivery_list.read(tx, state="retrying")
        delivery_list.read(tx, state="retrying", trigger="new")
        delivery_list.read(tx, state="retrying", target="ops")
        delivery_list.read(tx, state="dead")
        delivery_list.read(tx, state="dead", trigger="new")
        event_list.read(tx, trigger="new")

    steps = plans.of_work(filled, look)
    lists = {statement: plan for statement, plan in steps.items() if "ORDER BY" in statement}
    assert len(lists) == 6
    for statement, plan in lists.items():
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan, statement
        assert not any(step.startswith("SCAN messages") for step in plan), statement
        assert not any(step.endswith("messages_by_trigger (trigger=?)") for step in plan), statement
