"""How SQLite looks things up for the statements of delivery: none of them goes through all pending deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from daemon.model import DeliveryState, Order
from daemon.storage import claims, due, results
from tests.conftest import START
from tests.delivery.loop_setup import fill

if TYPE_CHECKING:
    from daemon.storage.database import Database

NAMES = ["ops", "chat"]
OF_EACH_STATE = "deliveries_by_state"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_statement_of_a_claim_or_a_recording_goes_through_all_pending_deliveries(database: Database) -> None:
    fill(database, [f"P{number % 7}" for number in range(60)], NAMES)
    statements: list[tuple[str, Any]] = []
    requests = {name: due.ClaimRequest(Order.PER_INCIDENT, 10, 10) for name in NAMES}

    def keep(*arguments: Any) -> None:
        statements.append((arguments[2], arguments[3]))

    def work(tx: sa.Connection) -> None:
        sa.event.listen(tx.engine, "before_cursor_execute", keep)
        claimed = claims.claim(tx, requests, "one", START)
        first = claimed["ops"].runs[0].deliveries[0]
        results.record(tx, [results.Result(first, DeliveryState.DELIVERED, START, 5, 200, None, None)], "one")
        claims.give_back(tx, [each.deliveries[0].id for each in claimed["chat"].runs], "one", None)
        sa.event.remove(tx.engine, "before_cursor_execute", keep)

    database.write_now(work)
    assert len(statements) > 5
    for statement, parameters in statements:
        plan = database.read_now(plan_of, statement, parameters)
        assert not [step for step in plan if OF_EACH_STATE in step or step.startswith("SCAN deliveries")], statement


def plan_of(tx: sa.Connection, statement: str, parameters: Any) -> list[str]:
    """Return the steps of SQLite's plan."""
    return [row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
