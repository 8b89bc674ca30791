"""How the databases look things up for delivery: no statement goes through all pending deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon.model import DeliveryState, Order
from daemon.storage import claims, due, results, schema, targets
from tests.conftest import START
from tests.delivery.loop_setup import fill
from tests.harness import plans

if TYPE_CHECKING:
    from daemon.storage.database import Database

NAMES = ["ops", "chat"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_statement_of_a_claim_or_a_recording_goes_through_all_pending_deliveries(database: Database) -> None:
    fill(database, [f"P{number % 7}" for number in range(60)], NAMES)
    requests = {name: due.ClaimRequest(Order.PER_INCIDENT, 10, 10) for name in NAMES}

    def work(tx: sa.Connection) -> None:
        claimed = claims.claim(tx, requests, "one", START)
        first = claimed["ops"].runs[0].deliveries[0]
        results.record(tx, [results.Result(first, DeliveryState.DELIVERED, START, 5, 200, None, None)], "one")
        claims.give_back(tx, [each.deliveries[0].id for each in claimed["chat"].runs], "one", None)

    steps = plans.of_work(database, work)
    assert len(steps) > 5
    assert plans.through_all(steps) == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_without_statistics_a_claim_looks_up_each_target_and_incident_by_itself(database: Database) -> None:
    fill(database, [f"P{number % 50}" for number in range(3000)], NAMES)
    requests = {name: due.ClaimRequest(Order.PER_INCIDENT, 500, 10) for name in NAMES}
    steps = plans.of_work(database, lambda tx: claims.claim(tx, requests, "one", START))
    lateral = [plan for statement, plan in steps.items() if "LATERAL" in statement]
    assert len(lateral) == 2
    conditions = [next(step for step in plan if step.startswith("Index Cond: ")) for plan in lateral]
    assert "(target = " in conditions[0]
    assert "(next_attempt_at <= " in conditions[0]
    assert "(target = " in conditions[1]
    assert "(incident_id = " in conditions[1]
    assert "(id < " in conditions[1]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_claim_changes_no_index(database: Database) -> None:
    fill(database, [f"P{number % 50}" for number in range(300)], NAMES)
    requests = {name: due.ClaimRequest(Order.PER_INCIDENT, 100, 10) for name in NAMES}

    def work(tx: sa.Connection) -> sa.Row[tuple[int, int]]:
        claims.claim(tx, requests, "one", START)
        changed = [f"pg_stat_get_xact_tuples{kind}_updated('deliveries'::regclass)" for kind in ("", "_hot")]
        return tx.execute(sa.text(f"SELECT {', '.join(changed)}")).one()

    assert database.write_now(work) == (200, 200)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("has_statistics", [True, False], ids=["of a quiet moment", "none"])
def test_nothing_goes_through_a_new_backlog(database: Database, *, has_statistics: bool) -> None:
    fill(database, [f"P{number % 50}" for number in range(3000)], NAMES)
    ended = schema.deliveries.update().values(state=DeliveryState.DELIVERED, finished_at=START)
    database.write_now(lambda tx: tx.execute(ended) and None)
    if has_statistics:
        database.write_now(lambda tx: tx.execute(sa.text("ANALYZE deliveries")) and None)
    fill(database, [f"P{number % 50}" for number in range(1000)], NAMES, first=3000)
    requests = {name: due.ClaimRequest(Order.PER_INCIDENT, 10, 10) for name in NAMES}

    def work(tx: sa.Connection) -> None:
        claims.claim(tx, requests, "one", START)
        targets.hurry(tx, "ops", START)
        targets.expire_backlog(tx, "ops", START, ["P1"], START)

    steps = plans.of_work(database, work)
    assert len(steps) > 6
    through = [step for plan in steps.values() for step in plan if "Seq Scan on deliveries" in step or " Join " in step]
    assert (plans.through_all(steps), through) == ([], [])
