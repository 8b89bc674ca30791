"""Lifecycles: the same seed creates the same ones, and ledger and log agree."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon import triggers
from daemon.model import IncidentStatus
from daemon.simulator import Account, Lifecycles, history, routes
from daemon.simulator.http import SimRequest
from tests.conftest import START, ManualClock
from tests.harness.eventually import eventually
from tests.simulator.library import log

if TYPE_CHECKING:
    from tests.simulator.library import Sdk

HOURS = timedelta(hours=6)
KINDS = {entry: kind.name for entry, kind in triggers.BY_LOG_ENTRY.items() if entry != "trigger_log_entry"}
STATES = {"incident.triggered", "incident.assigned", "incident.acknowledged", "incident.resolved", "incident.reopened"}
Told = tuple[str, str, str, tuple[str, ...], str | None]


def lived(account: Account, *, seed: int = 0, rate: float = 0.5) -> Lifecycles:
    """Six hours of incidents until now."""
    return history(account, START - HOURS, START, rate=rate, seed=seed)


def told_by(entries: list[Any]) -> list[Told]:
    """Return the content of a log, read from its records alone: kind, incident, entry, assignees, note."""
    observed: list[Told] = []
    delegated = {(each["incident"]["id"], each["created_at"][:19]) for each in entries if "delegate" in each["type"]}
    for entry in entries:
        incident, identity = entry["incident"], entry["id"]
        if entry["type"] == "trigger_log_entry" and identity == incident["first_trigger_log_entry"]["id"]:
            observed.append(("incident.triggered", incident["id"], identity, (), None))
        automatic = entry["type"] == "assign_log_entry" and entry["channel"]["type"] == "auto"
        if automatic and (incident["id"], entry["created_at"][:19]) in delegated:
            continue
        if note := entry.get("note"):
            observed.append(("incident.annotated", incident["id"], identity, (), note))
        if kind := KINDS.get(entry["type"]):
            users = tuple(each["id"] for each in entry.get("assignees", ()))
            content = entry["channel"]["content"] if kind == "incident.annotated" else None
            observed.append((kind, incident["id"], identity, users, content))
    return observed


def test_ledger_and_log_agree(account: Account, sdk: Sdk) -> None:
    lives = lived(account)
    ledger = [(each.type, each.incident_id, each.entry_id, each.users, each.note) for each in account.log.ledger]
    assert ledger == told_by(log(sdk))
    assert set(Counter(each.type for each in account.log.ledger)) == {
        kind.name for kind in triggers.BY_LOG_ENTRY.values()
    }
    assert lives.created == len(account.incidents) == Counter(each[0] for each in ledger)["incident.triggered"]


def test_ledger_lines_are_numbered_and_have_the_time_of_their_entry(account: Account) -> None:
    lived(account)
    entries = {entry.id: entry for entry in account.log.entries}
    assert [each.seq for each in account.log.ledger] == list(range(len(account.log.ledger)))
    assert all(each.at == entries[each.entry_id].created_at for each in account.log.ledger)
    assert [each.at for each in account.log.ledger] == sorted(each.at for each in account.log.ledger)


def test_an_incident_ends_in_the_state_that_the_ledger_records(account: Account) -> None:
    lived(account, rate=2)
    last: dict[str, str] = {}
    for each in account.log.ledger:
        if each.type in STATES:
            last[each.incident_id] = each.type
    resolved = {key for key, kind in last.items() if kind == "incident.resolved"}
    assert {key for key, each in account.incidents.items() if each.status is IncidentStatus.RESOLVED} == resolved
    assert 0 < len(resolved) < len(account.incidents)


def test_every_step_of_a_lifecycle_occurs(account: Account) -> None:
    lived(account, rate=2)
    seen = {entry.type.removesuffix("_log_entry") for entry in account.log.entries}
    assert seen >= {
        *("trigger", "assign", "escalate", "delegate", "acknowledge", "unacknowledge", "resolve", "reopen", "merge"),
        *("annotate", "snooze", "notify", "urgency_change", "priority_change", "reach_trigger_limit"),
        *("field_value_change", "custom_field_value_change", "repeat_escalation_path", "exhaust_escalation_path"),
    }
    first = {each.first_entry for each in account.incidents.values()}
    assert any(entry.type == "trigger_log_entry" and entry.id not in first for entry in account.log.entries)
    assert {each.key is None for each in account.incidents.values()} == {True, False}


def answers(seed: int, lives: int) -> list[bytes]:
    """Return all responses of an account with a past."""
    account = Account(clock=ManualClock(), seed=seed)
    lived(account, seed=lives)
    return [
        routes.answer(account, SimRequest("GET", path, (("limit", "100"),))).body
        for path in ("/log_entries", "/incidents", "/users", "/services", "/escalation_policies")
    ]


def test_the_same_seeds_create_the_same_account_and_lifecycles() -> None:
    first, other = answers(1, 1), answers(1, 2)
    assert first == answers(1, 1)
    assert first != answers(2, 1)
    assert first != other
    assert first[2:] == other[2:]


@pytest.mark.parametrize("rate", [0.2, 1.0, 2.0])
def test_incidents_are_created_at_the_configured_rate(account: Account, rate: float) -> None:
    expected = rate * HOURS.total_seconds() / 60
    assert abs(lived(account, rate=rate).created - expected) < 4 * expected**0.5


def test_nothing_happens_without_a_rate(account: Account, clock: ManualClock) -> None:
    lives = Lifecycles(account, rate=0)
    assert lives.step(clock()) is None
    assert (lives.created, account.log.entries) == (0, [])
    lives.create()
    assert lives.created == 1
    assert lives.step(clock()) is not None


def test_a_step_returns_the_time_of_the_next_one_and_does_nothing_before_it(
    account: Account, clock: ManualClock
) -> None:
    lives = Lifecycles(account, rate=1)
    for _ in range(50):
        due = lives.step(clock())
        assert due is not None
        assert due > clock()
        count = len(account.log.entries)
        clock.now = due - timedelta(microseconds=1)
        lives.step(clock())
        assert len(account.log.entries) == count
        clock.now = due


def test_at_a_faster_pace_incidents_end_earlier() -> None:
    def resolved(pace: float) -> int:
        clock = ManualClock()
        account = Account(clock=clock)
        lives = Lifecycles(account, rate=0, pace=pace)
        for _ in range(20):
            lives.create()
        lives.step(clock.advance(20))
        return sum(each.status is IncidentStatus.RESOLVED for each in account.incidents.values())

    assert resolved(0.1) == 0
    assert resolved(10) == 20


def test_an_incident_resolved_by_a_client_does_not_stop_the_lifecycles(account: Account, clock: ManualClock) -> None:
    lives = Lifecycles(account, rate=0)
    for _ in range(30):
        lives.create()
    for incident in account.incidents.values():
        account.resolve(incident.id)
    while lives.step(clock()) is not None:
        clock.advance(5)
    assert all(each.status is IncidentStatus.RESOLVED for each in account.incidents.values())


async def test_lifecycles_follow_the_real_clock_until_they_are_stopped() -> None:
    account = Account()
    lives = Lifecycles(account, rate=60_000, pace=1000)
    running = asyncio.create_task(lives.run())
    await eventually(lambda: lives.created >= 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert len(account.incidents) == lives.created
