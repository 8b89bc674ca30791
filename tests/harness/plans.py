"""How a database looks things up: the plans of all statements that a piece of work makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.storage.database import Database

OF_EACH_STATE = "deliveries_by_state"  # an index with all pending deliveries


def of_work(database: Database, work: Callable[[sa.Connection], object]) -> dict[str, list[str]]:
    """Return the steps of the database's plan for each statement of the work."""
    statements: list[tuple[str, Any]] = []

    def keep(*arguments: Any) -> None:
        statements.append((arguments[2], arguments[3]))

    def listen(tx: sa.Connection) -> None:
        sa.event.listen(tx.engine, "before_cursor_execute", keep)
        work(tx)
        sa.event.remove(tx.engine, "before_cursor_execute", keep)

    def explain(tx: sa.Connection, statement: str, parameters: Any) -> list[str]:
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        return [row[-1].strip() for row in tx.exec_driver_sql(f"{explain} {statement}", parameters)]

    database.write_now(listen)
    return {statement: database.read_now(explain, statement, values) for statement, values in statements}


def through_all(plans: dict[str, list[str]]) -> list[str]:
    """Return the statements that go through all pending deliveries, or all deliveries."""
    return [
        statement
        for statement, plan in plans.items()
        if any(OF_EACH_STATE in step or step.startswith("SCAN deliveries") for step in plan)
    ]
