"""What became of claimed deliveries.

Whatever is written after a claim names who claimed, so that a daemon which was taken for dead
changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.model import Delivery, DeliveryState
from daemon.storage import sql
from daemon.storage.deliveries import update
from daemon.storage.schema import attempts, deliveries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Result:
    """How one attempt went. ``next_attempt_at`` goes with ``state`` pending."""

    delivery: Delivery
    state: DeliveryState
    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    answer: str | None
    next_attempt_at: datetime | None = None


def record(tx: sa.Connection, results: Sequence[Result], instance: str) -> None:
    """Write down attempts and what followed from them, for deliveries that ``instance`` still holds."""
    mine = deliveries.c.claimed_by == instance
    delivered: defaultdict[tuple[int | None, int], list[Result]] = defaultdict(list)
    for result in results:
        if result.state is DeliveryState.DELIVERED:
            delivered[result.status, result.delivery.attempts].append(result)
    for (status, before), group in delivered.items():
        values = {
            "state": "delivered",
            "attempts": before + 1,
            "claimed_by": None,
            "last_status": status,
            "last_error": None,
        }
        update(tx, [each.delivery.id for each in group], mine, **values, finished_at=group[-1].at)
    failed = [each for each in results if each.state is not DeliveryState.DELIVERED]
    if failed:
        tx.execute(
            deliveries.update()
            .where(deliveries.c.id == sa.bindparam("delivery"), mine)
            .values(
                state=sa.bindparam("new_state"),
                attempts=sa.bindparam("made"),
                claimed_by=None,
                next_attempt_at=sa.func.coalesce(
                    sa.bindparam("again", type_=deliveries.c.next_attempt_at.type), deliveries.c.next_attempt_at
                ),
                finished_at=sa.bindparam("finished"),
                last_status=sa.bindparam("got"),
                last_error=sa.bindparam("why"),
            ),
            [_failure(each) for each in failed],
        )
    sql.insert_rows(tx, attempts, [_attempt(each) for each in results])


def _failure(result: Result) -> dict[str, Any]:
    return {
        "delivery": result.delivery.id,
        "new_state": result.state.value,
        "made": result.delivery.attempts + 1,
        "again": result.next_attempt_at,
        "finished": result.at if result.state is DeliveryState.DEAD else None,
        "got": result.status,
        "why": _storable(result.error),
    }


def _attempt(result: Result) -> dict[str, Any]:
    return {
        "delivery_id": result.delivery.id,
        "at": result.at,
        "duration_ms": result.duration_ms,
        "status": result.status,
        "error": _storable(result.error),
        "answer": _storable(result.answer),
    }


def _storable(text: str | None) -> str | None:
    """Text without what a database does not take, or one attempt would keep all others from being recorded."""
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
