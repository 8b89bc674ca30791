"""The overview: whether all is well, and what fails, first."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.page import overview, status_list
from daemon.storage import schema
from daemon.storage.schema import LATENCIES

if TYPE_CHECKING:
    import pytest

    from daemon.storage.database import Database
    from tests.conftest import ManualClock
    from tests.page.person import Person


async def test_it_says_first_what_needs_attention_since_when_and_why(person: Person) -> None:
    text = await person.read("/")
    first = ("3 things need attention", "Connection", "401 2006 Authentication failed", "Target", "answered 503")
    places = [text.index(each) for each in (*first, "<h2>Targets</h2>")]
    assert places == sorted(places)
    assert 'datetime="2026-11-23T09:57:00Z"' in text


async def test_it_says_that_all_is_well(person: Person, database: Database, clock: ManualClock) -> None:
    def mend(tx: sa.Connection) -> None:
        for table in (schema.connections, schema.targets):
            tx.execute(sa.update(table).values(failing_since=None, last_error=None))
        tx.execute(sa.update(schema.targets).values(last_success_at=clock.now))
        tx.execute(sa.delete(schema.actions))

    database.write_now(mend)
    text = await person.read("/")
    assert "All is well" in text
    assert "<title>All is well · pagerelay</title>" in text


async def test_a_connection_that_catches_up_shows_how_far_it_has_come(
    person: Person, database: Database, clock: ManualClock
) -> None:
    now = clock.now
    values = {
        "polled_by": "a",
        "last_success_at": now - timedelta(hours=40),
        "last_poll_at": now - timedelta(minutes=9),
    }
    mine = schema.connections.update().where(schema.connections.c.name == "acme")
    database.write_now(lambda tx: tx.execute(mine.values(values | {"watermark": now - timedelta(hours=10)})) and None)
    assert "10 h, caught up in about 3 min" in await person.read("/")
    text = await person.read("/connections/acme")
    assert "75 % read, 10 h behind, about 3 min left" in text
    assert "Not polled since" not in text


async def test_a_failing_target_is_retried_and_paused_from_it(person: Person, woken: list[str]) -> None:
    response = await person.press("/", "Retry now")
    assert (response.status_code, response.headers["location"], woken) == (303, "/", ["ops"])
    await person.http.post("/targets/ops/pause", data={"back": "overview"})
    assert "paused by hand" in await person.read("/")
    await person.press("/", "Resume")
    assert "paused by hand" not in await person.read("/")


async def test_the_script_gets_the_content_without_its_frame(person: Person) -> None:
    response = await person.http.get("/", headers={"x-fragment": "1"})
    assert "<header" not in response.text
    assert '<section id="summary"' in response.text


async def test_each_target_has_small_charts_of_its_last_day(
    person: Person, database: Database, clock: ManualClock
) -> None:
    at, within = clock.now - timedelta(minutes=5), dict.fromkeys((f"within_{bound}" for bound in LATENCIES), 0)
    counts = (
        within | {"target": "ops", "at": at, "attempts": 4, "failures": 1, "within_100": 4} | {"pending": 7, "dead": 3}
    )
    database.write_now(lambda tx: tx.execute(schema.target_history.insert().values(counts)) and None)
    text = await person.read("/")
    for what in ("Success rate of ops", "95th percentile of the duration of attempts of ops"):
        chart = text[text.index(what) :]
        assert '<path class="line" d="M' in chart[: chart.index("</svg>")], what
    assert "Pending deliveries of ops per hour in the last 24 hours, at most 7" in text
    assert "Dead deliveries of ops per hour in the last 24 hours, at most 3" in text
    assert "Dead deliveries of chat" not in text, "where there is nothing to see"


async def test_what_the_overview_has_no_room_for_is_on_pages_of_its_own(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MOST", 1)
    monkeypatch.setattr(status_list, "LENGTH", 1)
    text = await person.read("/")
    assert "All 2 triggers" in text
    total = text.split(" targets</a>")[0].rpartition("All ")[2]
    pages = [await person.read(f"/targets?page={number}") for number in (1, int(total), 99)]
    assert [page.count("data-entry") for page in pages] == [1, 1, 1]
    assert ">Next<" in pages[0]
    assert ">Next<" not in pages[1]
    assert "Previous" in pages[1]
    assert pages[0].index(">ops<") > 0, "the worst first"
    assert "ops" not in await person.read("/targets?health=ok")
    assert "No target is strange." in await person.read("/targets?health=strange")
    assert (await person.read("/triggers")).count("data-entry") == 1


async def test_many_failing_targets_leave_room_for_other_troubles(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MOST_TROUBLES", 0)
    text = await person.read("/")
    assert "3 things need attention" in text
    assert "3 more: see" in text
