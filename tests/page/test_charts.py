"""Charts as pure functions, and the history behind them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from daemon.maintenance import History
from daemon.page import charts
from daemon.storage import history as stored
from daemon.storage import schema
from daemon.storage.history import ALL
from daemon.storage.schema import LATENCIES
from daemon.views import history
from tests.conftest import START
from tests.harness import sample_data

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

STARTS = [START + timedelta(hours=number) for number in range(24)]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=24, max_size=24))
def test_every_bar_lies_within_its_chart(pairs: list[tuple[int, int]]) -> None:
    lower, upper = [one for one, _ in pairs], [other for _, other in pairs]
    for svg in (charts.bars("Attempts", STARTS, lower, upper), charts.spark("Attempts", lower, upper)):
        root = ET.fromstring(svg)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for bar in root.iter("rect"):
            x, y, wide, high = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= -0.1
            assert x + wide <= width
            assert y + high <= height + 0.1


@given(st.lists(st.none() | st.floats(0, 1e9), max_size=24))
def test_every_point_of_a_small_line_lies_within_it(values: list[float | None]) -> None:
    root = ET.fromstring(charts.spark_line("Duration", values))
    (path,) = root.iter("path")
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path.attrib["d"])]
    assert len(points) == sum(value is not None for value in values)
    assert all(0 <= x <= charts.SPARK_WIDTH and 0 <= y <= charts.SPARK_HEIGHT for x, y in points)


def test_a_line_has_a_gap_where_nothing_happened() -> None:
    svg = charts.lines("Duration", STARTS[:4], [1.0, None, 2.0, 3.0])
    assert svg.count("M") == 2
    assert "style=" not in svg


def test_an_hour_on_its_own_is_a_dash_that_can_be_seen() -> None:
    (path,) = ET.fromstring(charts.lines("Duration", STARTS[:1], [20.0])).iter("path")
    start, wide = map(float, re.fullmatch(r"M([\d.]+) [\d.]+h([\d.]+)", path.attrib["d"]).groups())  # type: ignore[union-attr]
    assert wide == charts.LONGEST_DASH
    assert charts.LEFT < start < charts.WIDTH - wide
    (small,) = ET.fromstring(charts.spark_line("Duration", [None, 20.0, None])).iter("path")
    assert float(small.attrib["d"].partition("h")[2]) > 10


@pytest.mark.parametrize("most", [0, 1, 2, 3, 17, 4321])
def test_an_axis_has_whole_numbers_only(most: int) -> None:
    labels = [text.text or "" for text in ET.fromstring(charts.lines("Pending", STARTS, [most] * 24)).iter("text")]
    amounts = [float(each.replace("k", "e3")) for each in labels if ":" not in each]
    assert amounts[0] == 0
    assert len(amounts) > 1
    assert [each for each in amounts if not each.is_integer()] == []


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (3, 5), (17, 20), (99, 100), (101, 200), (4321, 5000)])
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert charts.ceiling(value) == top


def test_percentiles_lie_between_the_bounds_that_hold_them() -> None:
    within = [0, 0, 0, 50, 90, 90, 95, 100, 100, 100]  # of 100: half within 100 ms, 95 within a second
    assert history.percentile(0.5, within, 100) == 100
    assert history.percentile(0.95, within, 100) == 1000
    assert history.percentile(0.95, [0] * len(LATENCIES), 7) == 10_000
    assert history.percentile(0.5, within, 0) is None


def attempt(number: int, at: object, milliseconds: int, error: str | None = None) -> dict[str, object]:
    return {"id": number, "delivery_id": 1, "at": at, "duration_ms": milliseconds, "error": error}


async def test_each_attempt_event_and_call_is_counted_once(database: Database, clock: ManualClock) -> None:
    chore = History(database)
    await chore.run()
    database.write_now(sample_data.fill, clock.now)
    rows = [
        attempt(number, clock.now - timedelta(minutes=number), 40, "answered 500" if number < 14 else None)
        for number in range(10, 20)
    ]
    database.write_now(lambda tx: sample_data.insert(tx, schema.attempts, *rows))
    for _ in range(4):
        await chore.run()

    def read(tx: sa.Connection) -> Any:
        of_all = history.of_target(tx, ALL, clock.now)
        connection = history.of_connections(tx, ["acme"], clock.now)
        return (
            history.last_hour(tx, ["chat", "ops"], clock.now),
            (sum(each.attempts for each in of_all), sum(each.failures for each in of_all)),
            (sum(each.events for each in connection), sum(each.calls for each in connection)),
        )

    last_hour, both, of_acme = database.read_now(read)
    assert {name: (each.attempts, each.failures) for name, each in last_hour.items()} == {
        "chat": (10, 4),
        "ops": (2, 2),
    }
    assert 25 < last_hour["chat"].p50 < 50
    assert both == (12, 6)
    assert of_acme == (4, 4)


async def test_history_is_bounded_in_time_and_in_each_round(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "MOST_AT_ONCE", 4)
    chore = History(database)
    await chore.run()
    database.write_now(sample_data.fill, clock.now)
    rows = [attempt(number, clock.now, 40) for number in range(10, 30)]
    database.write_now(lambda tx: sample_data.insert(tx, schema.attempts, *rows))
    await chore.run()
    waits = [await chore.run() for _ in range(10)]
    assert waits[0] < waits[-1]
    total = database.read_now(lambda tx: sum(each.attempts for each in history.of_target(tx, ALL, clock.now)))
    assert total == 22
    clock.advance(49 * 3600)
    await chore.run()
    oldest = sa.select(sa.func.min(schema.target_history.c.at))
    assert database.read_now(lambda tx: tx.execute(oldest).scalar_one()) > clock.now - timedelta(hours=1)


async def test_hours_keep_their_counts_in_a_single_row_each(database: Database, clock: ManualClock) -> None:
    chore = History(database)
    await chore.run()
    database.write_now(sample_data.fill, clock.now)
    rows = [attempt(number, clock.now - timedelta(minutes=4 * number), 40) for number in range(10, 60)]
    database.write_now(lambda tx: sample_data.insert(tx, schema.attempts, *rows))

    def counts(tx: sa.Connection) -> list[int]:
        return [each.attempts for each in history.of_target(tx, "chat", clock.now)]

    for _ in range(2):
        await chore.run()
    before = database.read_now(counts)
    for hours in range(6):
        for _ in range(9):
            await chore.run()
        assert database.read_now(counts)[: 24 - hours] == before[hours:]
        clock.advance(3600)
    table = schema.target_history
    old = table.select().where(table.c.target == "chat", table.c.at < clock.now - timedelta(hours=4))
    starts = [row.at for row in database.read_now(lambda tx: tx.execute(old).all())]
    assert len(starts) >= 4
    assert all(each.minute == 0 for each in starts)


async def test_the_most_deliveries_that_were_pending_or_dead_at_once_are_kept(
    database: Database, clock: ManualClock
) -> None:
    chore = History(database)
    database.write_now(sample_data.fill, clock.now)
    mine = schema.deliveries.c.target == "chat"
    for state in ("pending", "dead", "delivered"):
        database.write_now(sa.Connection.execute, schema.deliveries.update().where(mine).values(state=state))
        await chore.run()
        clock.advance(61)
    count = sa.select(sa.func.count()).select_from(schema.deliveries).where(mine)
    number = database.read_now(lambda tx: tx.execute(count).scalar_one())
    last = database.read_now(lambda tx: history.of_target(tx, "chat", clock.now))[-1]
    assert (last.pending, last.dead) == (number, number)
