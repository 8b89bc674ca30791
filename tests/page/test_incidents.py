"""The list of open incidents, and the buttons of one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from daemon.page import lists
from daemon.storage import schema
from daemon.views import incident_list, paging
from tests.harness import plans, sample_data

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.storage.database import Database
    from tests.conftest import ManualClock
    from tests.page.person import Person

MINUTE = timedelta(minutes=1)


def snapshot(number: int, clock: ManualClock, **other: Any) -> dict[str, Any]:
    """Return the row of an open incident that was triggered so many minutes ago."""
    at = clock.now - number * MINUTE
    resource = {
        "title": f"Disk {number} <b>full</b>",
        "incident_number": number,
        "created_at": at.isoformat(),
        "urgency": "high",
        "service": {"summary": "Orders"},
        "assignments": [{"assignee": {"id": "PA", "summary": "Alice"}}, {"assignee": {"id": "PB"}}],
    }
    row = {
        "connection": "acme",
        "incident_id": f"Q{number}",
        "created": True,
        "status": "triggered",
        "status_at": at,
        "assigned": "[]",
        "incident": orjson.dumps(resource).decode(),
        "announced": "[]",
        "read_at": at,
    }
    return row | other


@pytest.fixture
def many(person: Person, database: Database, clock: ManualClock) -> Person:
    """Return somebody who sees seven open incidents, two of one moment, and a resolved one."""
    together = clock.now - 5 * MINUTE
    rows = [snapshot(number, clock) for number in range(27, 33)]
    rows += [snapshot(40, clock, status_at=together, connection="beta", status="acknowledged")]
    rows += [snapshot(41, clock, status_at=together), snapshot(1, clock, status="resolved")]

    def write(tx: sa.Connection) -> None:
        tx.execute(schema.snapshots.delete())
        sample_data.insert(tx, schema.snapshots, *rows)

    database.write_now(write)
    return person


def numbers(text: str) -> list[str]:
    return re.findall(r'href="/incidents/Q(\d+)"', text)


async def test_open_incidents_are_listed_with_what_a_person_on_call_asks_first(many: Person) -> None:
    text = await many.read("/incidents")
    assert numbers(text) == ["41", "40", "27", "28", "29", "30", "31", "32"]
    row = text[text.index("#27") :].partition("</tr>")[0]
    for each in ("Disk 27 &lt;b&gt;full&lt;/b&gt;", "triggered", "Orders", "Alice, PB", "27 min ago", "high"):
        assert each in row, each
    assert numbers(await many.read("/incidents?status=acknowledged")) == ["40"]
    assert numbers(await many.read("/incidents?connection=beta")) == ["40"]


async def test_each_open_incident_is_on_one_part_of_the_list(many: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LENGTH", 1)
    path, seen = "/incidents?connection=acme", list[str]()
    while path:
        text = await many.read(path)
        seen += numbers(text)
        older = re.search(r'href="([^"]*)" rel="next"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == ["41", "27", "28", "29", "30", "31", "32"]


@pytest.mark.parametrize(
    "query", ["before=x", "before=²:Q1:acme", "before=1%3AQ%001%3Aacme", "status=resolved", "connection=x"]
)
async def test_a_wrong_filter_of_incidents_is_named(many: Person, query: str) -> None:
    assert 'role="alert"' in await many.read(f"/incidents?{query}", 422)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_open_incidents_are_read_in_their_order(database: Database, clock: ManualClock) -> None:
    database.write_now(sample_data.fill, clock.now)

    def look(tx: sa.Connection) -> None:
        incident_list.read_open(tx, before=paging.NEWEST, limit=50)
        incident_list.read_open(tx, before="1764000000000000:Q1:acme", limit=50, status="triggered")

    for statement, plan in plans.of_work(database, look).items():
        assert ["snapshots_open" in step for step in plan] == [True], statement


@pytest.mark.parametrize(
    ("status", "labels"),
    [
        ("triggered", ["Acknowledge", "Resolve", "Add a note", "Reassign", "Escalate"]),
        ("acknowledged", ["Resolve", "Add a note", "Snooze", "Reassign", "Escalate"]),
        ("resolved", ["Add a note"]),
    ],
)
async def test_only_buttons_that_can_help_are_shown(
    person: Person, database: Database, status: str, labels: list[str]
) -> None:
    database.write_now(lambda tx: tx.execute(schema.snapshots.update().values(status=status)) and None)
    text = await person.read("/incidents/P2")
    assert re.findall(r'<a class="button[^>]*>([^<]*)</a>', text) == labels


async def test_a_note_keeps_its_lines(person: Person, database: Database) -> None:
    note = {"content": "first line\r\nsecond\x1b[31m line"}
    payload = sample_data._text({"incident": {"title": "Disk full"}, "note": note})
    database.write_now(lambda tx: tx.execute(schema.events.update().values(payload=payload)) and None)
    for path in ("/incidents/P2", "/events/evt_2"):
        assert "first line\nsecond\ufffd[31m line" in await person.read(path)


async def test_an_incident_from_before_the_baseline_has_a_page(
    person: Person, database: Database, clock: ManualClock
) -> None:
    database.write_now(sample_data.insert, schema.snapshots, snapshot(27, clock))
    text = await person.read("/incidents/Q27")
    assert "#27" in text
    assert "Nothing yet" in text


async def test_lists_of_events_show_the_number_of_the_incident(
    person: Person, database: Database, clock: ManualClock
) -> None:
    payload = orjson.dumps({"incident": {"title": "Disk full", "number": 4711}}).decode()
    database.write_now(sample_data.insert, schema.events, sample_data.event(900, clock.now, payload=payload))
    for path in ("/events", "/", "/events/evt_900"):
        assert "#4711" in await person.read(path)
