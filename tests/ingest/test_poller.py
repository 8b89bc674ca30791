"""Polls from end to end: events, costs, and the state after a failure or a crash."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog

from daemon.pagerduty import exchange
from daemon.settings import Trigger
from daemon.storage import journal, schema
from daemon.storage.database import Database
from daemon.views import delivery_list
from tests.conftest import ManualClock
from tests.harness.fake_pagerduty import FakePagerDuty
from tests.harness.polling import Daemon


@pytest.fixture
def account(clock: ManualClock) -> FakePagerDuty:
    """Return an account on the manual clock."""
    return FakePagerDuty(clock)


async def test_the_first_poll_sends_nothing_and_the_next_sends_what_is_new(
    database: Database, account: FakePagerDuty
) -> None:
    account.happen("trigger", "POLD")
    daemon = Daemon(database, account)
    await daemon.poll(5)
    assert daemon.journal() == []
    account.clock.advance(1)
    account.happen("acknowledge", "POLD")
    account.happen("trigger", "PNEW")
    await daemon.poll()
    assert daemon.journal() == ["POLD acknowledged", "PNEW triggered"]
    assert daemon.sent() == 2
    assert daemon.woken == [frozenset({"ops"})]


async def test_an_event_in_the_second_of_the_baseline_is_not_lost(database: Database, account: FakePagerDuty) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    account.happen("trigger")
    await daemon.poll()
    assert daemon.journal() == ["P1 triggered"]


async def test_an_event_between_the_two_reads_of_the_baseline_is_not_lost(
    database: Database, account: FakePagerDuty
) -> None:
    def just_before_the_incidents_are_listed(request: httpx.Request) -> None:
        if request.url.path == "/incidents" and not account.entries:
            account.happen("trigger")

    account.fail = just_before_the_incidents_are_listed
    daemon = Daemon(database, account)
    await daemon.poll(0)
    await daemon.poll()
    assert daemon.journal() == ["P1 triggered"]


async def test_all_transitions_between_two_polls_become_events_in_order(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    account.clock.advance(10)
    for kind in ("trigger", "acknowledge", "resolve"):
        account.happen(kind)
    await daemon.poll()
    assert daemon.journal() == ["P1 triggered", "P1 acknowledged", "P1 resolved"]


@pytest.mark.parametrize("count", [1, 500])
async def test_a_poll_without_news_costs_one_call_for_any_number_of_triggers(
    database: Database, account: FakePagerDuty, count: int
) -> None:
    triggers = [Trigger(f"t{number}", ("incident.triggered",), "acme", ("ops",)) for number in range(count)]
    daemon = Daemon(database, account, triggers)
    await daemon.poll(0)
    assert [await daemon.poll() for _ in range(3)] == [1, 1, 1]


async def test_a_poll_before_it_is_due_makes_no_call(database: Database, account: FakePagerDuty) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    assert [await daemon.poll(7) for _ in range(8)] == [0, 0, 0, 0, 1, 0, 0, 0]


async def test_neither_a_restart_nor_a_replica_polls_earlier(database: Database, account: FakePagerDuty) -> None:
    await Daemon(database, account).poll(0)
    assert await Daemon(database, account).poll(10) == 0
    assert await Daemon(database, account, instance="two").poll(10) == 0
    assert await Daemon(database, account, instance="two").poll(10) == 1


async def test_a_failed_page_fails_the_poll_and_does_not_move_the_watermark(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    before = daemon.state().watermark
    account.clock.advance(5)
    for number in range(250):
        account.happen("trigger", f"P{number}")
    account.fail = lambda request: httpx.Response(500) if request.url.params.get("offset") == "198" else None
    await daemon.poll()
    assert (daemon.journal(), daemon.state().watermark) == ([], before)
    assert daemon.state().failing_since is not None
    account.fail = lambda _request: None
    await daemon.poll()
    assert len(daemon.journal()) == 250
    assert daemon.state().failing_since is None


async def test_a_wrong_key_is_an_error_with_a_remedy_and_is_not_retried(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    account.fail = lambda _request: httpx.Response(401, json={"error": {"message": "nope", "code": 2006}})
    assert await daemon.poll(0) == 1
    error = database.read_now(lambda tx: tx.execute(sa.select(schema.connections.c.last_error)).scalar_one())
    assert "401" in error
    assert "check api_key and region" in error


async def test_a_malformed_record_is_quarantined_and_the_others_are_processed(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    account.clock.advance(5)
    account.happen("trigger")
    account.happen("acknowledge", id=None, channel={"type": "sms", "notification": {"address": "+49 555"}})
    account.happen("resolve")
    await daemon.poll()
    await daemon.poll()
    assert daemon.journal() == ["P1 triggered", "P1 resolved"]
    rows = database.read_now(
        lambda tx: tx.execute(sa.select(schema.quarantine.c.reason, schema.quarantine.c.raw)).all()
    )
    assert [row.reason for row in rows] == ["the record has no id"]
    assert "+49 555" not in rows[0].raw


@pytest.mark.parametrize("seed", range(3))
async def test_a_crash_at_any_transaction_loses_nothing_and_duplicates_nothing(
    database: Database, account: FakePagerDuty, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    luck = random.Random(seed)
    await Daemon(database, account).poll(0)
    write = database.write

    class KilledError(Exception):
        """The process ended here."""

    async def crashing(function: Any, *args: Any, **kwargs: Any) -> Any:
        if luck.random() < 0.2:
            raise KilledError
        result = await write(function, *args, **kwargs)
        if luck.random() < 0.2:
            raise KilledError
        return result

    monkeypatch.setattr(database, "write", crashing)
    expected: list[str] = []
    for number in range(25):
        account.clock.advance(3)
        account.happen("trigger", f"P{number}")
        account.happen("acknowledge", f"P{number}")
        expected += [f"P{number} triggered", f"P{number} acknowledged"]
        try:
            await Daemon(database, account).poll(27)
        except KilledError:
            database.write_now(lambda tx: tx.execute(schema.connections.update().values(polled_by=None)))
    monkeypatch.setattr(database, "write", write)
    daemon = Daemon(database, account)
    await daemon.poll()
    assert daemon.journal() == expected
    assert daemon.sent() == len(expected)


async def test_a_late_entry_within_the_overlap_is_found_by_the_next_poll(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    happened = account.clock.advance(5)
    await daemon.poll(240)
    account.happen("trigger", at=happened)
    await daemon.poll()
    assert daemon.journal() == ["P1 triggered"]


async def test_an_entry_that_appears_an_hour_late_is_found_by_the_sweep(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    happened = account.clock.advance(5)
    for _ in range(13):
        await daemon.poll(300)
    account.happen("trigger", at=happened)
    await daemon.poll()
    assert daemon.journal() == []
    await daemon.sweep.run()
    await daemon.sweep.run()
    assert daemon.journal() == ["P1 triggered"]
    await daemon.poll()
    assert daemon.sent() == 1


async def test_an_incident_whose_log_entries_never_appear_is_found_by_reconciliation(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    account.clock.advance(5)
    account.happen("trigger")
    hidden, account.entries = account.entries, []
    for _ in range(11):
        await daemon.poll()
    await daemon.reconcile.run()
    assert daemon.journal() == ["P1 triggered"]
    account.incidents["P1"] |= {"status": "resolved"}
    for _ in range(21):
        await daemon.poll()
    await daemon.reconcile.run()
    assert daemon.journal() == ["P1 triggered", "P1 resolved"]
    account.entries = hidden
    account.clock.advance(1)
    await daemon.poll()
    daemon.database.write_now(lambda tx: tx.execute(schema.connections.update().values(next_sweep_at=account.clock())))
    await daemon.sweep.run()
    assert daemon.journal() == ["P1 triggered", "P1 resolved"]


@pytest.mark.parametrize("body", [{}, {"incident": None}, {"incident": []}, {"incident": {"status": "triggered"}}])
async def test_a_malformed_response_about_an_incident_does_not_close_it(
    database: Database, account: FakePagerDuty, body: dict[str, Any]
) -> None:
    account.happen("trigger")
    daemon = Daemon(database, account)
    await daemon.poll(0)
    account.incidents["P1"]["status"] = "resolved"
    account.fail = lambda request: httpx.Response(200, json=body) if request.url.path == "/incidents/P1" else None
    for _ in range(3):
        await daemon.poll(210)
    await daemon.reconcile.run()
    assert daemon.journal() == []
    account.fail = lambda _request: None
    for _ in range(3):
        await daemon.poll(210)
    await daemon.reconcile.run()
    assert daemon.journal() == ["P1 resolved"]


async def test_days_of_downtime_are_read_in_windows_oldest_first(database: Database, account: FakePagerDuty) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    for number in range(1500):
        account.clock.advance(172.8)
        account.happen("trigger", f"P{number}")
    calls = await daemon.poll()
    assert daemon.journal() == [f"P{number} triggered" for number in range(1500)]
    assert calls < 60


async def test_a_window_that_is_too_large_is_halved_until_it_fits(
    database: Database, account: FakePagerDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.pagerduty.listing.CAP", 1000)  # a tenth of PagerDuty's
    daemon = Daemon(database, account)
    await daemon.poll(0)
    for number in range(1200):
        if number % 10 == 0:
            account.clock.advance(1)
        account.happen("trigger", f"P{number}")
    calls = await daemon.poll()
    assert len(daemon.journal()) == 1200
    assert calls < 40
    assert max(int(request.url.params["offset"]) + 100 for request in account.requests) <= 1000


async def test_progress_is_saved_window_by_window(database: Database, account: FakePagerDuty) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    started = account.clock()
    for number in range(48):
        account.clock.advance(3600)
        account.happen("trigger", f"P{number}")
    calls = 0

    def fail(_request: httpx.Request) -> httpx.Response | None:
        nonlocal calls
        calls += 1
        return httpx.Response(500) if calls > 3 else None

    account.fail = fail
    await daemon.poll()
    count = len(daemon.journal())
    assert 0 < count < 48
    watermark = daemon.state().watermark
    assert watermark is not None
    assert watermark >= started + timedelta(hours=count)
    account.fail = lambda _request: None
    await daemon.poll()
    assert daemon.journal() == [f"P{number} triggered" for number in range(48)]


async def test_the_events_of_a_window_are_sent_before_the_next_one_is_read(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    for number in range(48):
        account.clock.advance(3600)
        account.happen("trigger", f"P{number}")
    seen: list[int] = []

    def count(_request: httpx.Request) -> None:
        seen.append(daemon.sent())

    account.fail = count
    await daemon.poll()
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert len({*seen}) > 3
    assert daemon.sent() == 48


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_a_clock_that_is_minutes_off_delays_nothing_and_loses_nothing(
    database: Database, clock: ManualClock, minutes: int
) -> None:
    account = FakePagerDuty(clock, skew=timedelta(minutes=minutes))
    daemon = Daemon(database, account)
    await daemon.poll(0)
    expected = []
    for number in range(5):
        clock.advance(3)
        account.happen("trigger", f"P{number}")
        expected.append(f"P{number} triggered")
        await daemon.poll(27)
        assert daemon.journal() == expected


async def test_a_user_named_by_e_mail_is_looked_up_once(database: Database, account: FakePagerDuty) -> None:
    account.users["alice@example.com"] = "PALICE"
    trigger = Trigger("alice", ("incident.assigned",), "acme", ("ops",), user="Alice@example.com")
    daemon = Daemon(database, account, [trigger])
    await daemon.poll(0)
    account.clock.advance(1)
    account.happen("trigger")
    account.happen("assign", "P1", "PBOB")
    account.happen("assign", "P1", "PALICE")
    await daemon.poll()
    await daemon.poll()
    assert daemon.sent() == 1
    assert [request.url.path for request in account.requests].count("/users") == 1


async def test_a_failed_user_lookup_is_retried_after_ten_minutes(database_url: str) -> None:
    class Ticking(ManualClock):
        def __call__(self) -> datetime:
            return self.advance(0.001)

    account = FakePagerDuty(Ticking())
    account.users["alice@example.com"] = "PALICE"
    database = Database(database_url, clock=account.clock)
    daemon = Daemon(
        database, account, [Trigger("alice", ("incident.assigned",), "acme", ("ops",), user="alice@example.com")]
    )
    await daemon.poll(0)
    account.clock.advance(1)
    account.happen("trigger")
    account.happen("assign", "P1", "PALICE")
    await daemon.poll()
    database.close()
    assert [request.url.path for request in account.requests].count("/users") == 1


async def test_a_trigger_with_an_unknown_user_waits_and_loses_nothing(
    database: Database, account: FakePagerDuty
) -> None:
    trigger = Trigger("alice", ("incident.assigned",), "acme", ("ops",), user="alice@example.com")
    daemon = Daemon(database, account, [trigger])
    await daemon.poll(0)
    account.clock.advance(1)
    account.happen("assign", "P1", "PALICE")
    await daemon.poll()
    error = database.read_now(lambda tx: tx.execute(sa.select(schema.triggers.c.last_error)).scalar_one())
    assert "no user with the e-mail address alice@example.com" in error
    account.users["alice@example.com"] = "PALICE"
    for _ in range(21):
        await daemon.poll()
    assert daemon.sent() == 1
    assert database.read_now(lambda tx: tx.execute(sa.select(schema.triggers.c.last_error)).scalar_one()) is None


async def test_in_a_storm_polls_shorten_the_overlap_and_restore_it_afterwards(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    costs = []
    for number in range(6):
        for entry in range(200):
            account.happen("trigger", f"P{number}-{entry}")
        costs.append(await daemon.poll())
    assert len(daemon.journal()) == 1200
    assert max(costs[-3:]) <= 7
    for _ in range(20):
        await daemon.poll()
    since = account.requests[-1].url.params["since"]
    assert since == (account.clock() - timedelta(seconds=330)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_each_message_uses_the_event_type_name_of_its_trigger(database: Database, account: FakePagerDuty) -> None:
    names = {
        "all": ("incident.*",),
        "narrow": ("incident.reassigned", "incident.escalated"),
        "wide": ("incident.assigned",),
    }
    daemon = Daemon(database, account, [Trigger(name, on, "acme", ("ops",)) for name, on in names.items()])
    await daemon.poll(0)
    account.clock.advance(1)
    account.happen("trigger")
    account.clock.advance(60)
    account.happen("escalate", "P1", "PALICE")
    account.happen("snooze")
    await daemon.poll()
    listed = database.read_now(delivery_list.read).items
    assert sorted((each.trigger, each.type) for each in listed) == [
        ("all", "incident.assigned"),
        ("all", "incident.snoozed"),
        ("all", "incident.triggered"),
        ("narrow", "incident.escalated"),
        ("wide", "incident.assigned"),
    ]
    assert len(daemon.journal()) == 3


async def test_a_failing_condition_is_logged_once_and_again_when_it_recovers(
    database: Database, account: FakePagerDuty
) -> None:
    picky = Trigger("picky", ("incident.*",), "acme", ("ops",), condition="length(data.note.content) > `3`")
    daemon = Daemon(database, account, [picky])
    await daemon.poll(0)
    account.clock.advance(1)
    with structlog.testing.capture_logs() as logged:
        for kind, note in (("trigger", ""), ("resolve", ""), ("annotate", "looking into it"), ("annotate", "x")):
            account.happen(kind, note=note)
            await daemon.poll()
    count = [each["event"] for each in logged if each["event"].startswith("condition")]
    assert count == ["condition.failing", "condition.recovered"]
    assert daemon.sent() == 3


async def test_a_page_of_the_log_that_is_too_large_is_read_in_smaller_pages_and_nothing_is_lost(
    database: Database, account: FakePagerDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LARGEST_BODY", 130_000)
    daemon = Daemon(database, account)
    await daemon.poll(0)
    for number in range(40):
        account.clock.advance(1)
        account.happen(
            "trigger", f"P{number}", channel={"type": "api", "details": "x" * 9000, "cef_details": "x" * 9000}
        )
    calls = await daemon.poll()
    assert daemon.journal() == [f"P{number} triggered" for number in range(40)]
    assert calls == 10, "pages of 100 and 25 are refused, then pages of 6 that overlap by one"
    account.happen("resolve", "P1")
    assert await daemon.poll() == 8, "the size that worked is used at once for what the overlap reads again"
    assert daemon.journal()[-1] == "P1 resolved"


async def test_one_entry_that_is_too_large_by_itself_is_an_event_without_its_channel_and_is_named(
    database: Database, account: FakePagerDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LARGEST_BODY", 100_000)
    daemon = Daemon(database, account)
    await daemon.poll(0)
    for incident, size in (("P1", 10), ("P2", 200_000), ("P3", 10)):
        account.clock.advance(1)
        account.happen("trigger", incident, channel={"type": "api", "details": "x" * size})
    await daemon.poll()
    assert daemon.journal() == ["P1 triggered", "P2 triggered", "P3 triggered"]
    found = daemon.database.read_now(
        lambda tx: tx.execute(sa.select(schema.quarantine.c.reason, schema.quarantine.c.raw)).all()
    )
    [(reason, raw)] = found
    assert reason == "the record is too large, so its channel was not read"
    assert json.loads(raw)["id"] == "R2"


async def test_the_details_of_the_creating_alert_are_in_the_event_and_those_of_a_repeat_are_not(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    account.happen("trigger", "P1", channel={"type": "api", "details": {"host": "db-1", "owner": "a@example.com"}})
    account.clock.advance(1)
    account.happen("trigger", "P1", channel={"type": "api", "details": "again"})
    account.happen("acknowledge", "P1", channel={"type": "web", "details": "mine"})
    await daemon.poll()
    events = [event for _, event in database.read_now(journal.read, "acme", 0, 10)]
    assert [(event.type, event.payload["details"]) for event in events] == [
        ("incident.triggered", {"host": "db-1", "owner": "***"}),
        ("incident.acknowledged", None),
    ]


async def test_of_the_largest_details_that_pagerduty_takes_the_beginning_is_passed_on(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    details = {"host": "db-1", "dump": "x" * 512 * 1024}
    account.happen("trigger", "P1", channel={"type": "api", "details": details, "cef_details": details})
    await daemon.poll()
    [(_, event)] = database.read_now(journal.read, "acme", 0, 10)
    assert event.payload["details"]["host"] == "db-1"
    assert 16_000 < len(json.dumps(event.payload["details"])) <= 16_500


async def test_a_poll_that_ends_early_keeps_the_window_that_it_has_read(
    database: Database, account: FakePagerDuty
) -> None:
    daemon = Daemon(database, account)
    await daemon.poll(0)
    success = daemon.state().last_success_at
    account.clock.advance(1800)
    for hour in range(4):
        account.happen("trigger", f"P{hour}")
        account.clock.advance(3600)
    daemon.poller.end_early()
    for hour in range(1, 4):
        await daemon.poll()
        assert daemon.journal() == [f"P{each} triggered" for each in range(hour)]
        assert daemon.sent() == hour
        assert daemon.state().last_success_at == success  # it is still behind
    await daemon.poll()
    await daemon.poll()
    assert daemon.journal() == [f"P{each} triggered" for each in range(4)]
    assert (daemon.state().last_success_at or account.clock()) > (success or account.clock())


async def test_what_a_replaced_poller_reads_is_passed_on_by_the_next_before_it_reads_anything(
    database: Database, account: FakePagerDuty
) -> None:
    before = Daemon(database, account)
    await before.poll(0)
    account.clock.advance(1)
    account.happen("trigger")
    await before.poller.replace()
    await before.poll()
    assert before.journal() == ["P1 triggered"]
    assert before.sent() == 0

    after = Daemon(database, account, instance="two")
    account.fail = lambda _request: httpx.Response(500)
    await after.poll()
    assert after.sent() == 1
    assert after.woken == [frozenset({"ops"})]
