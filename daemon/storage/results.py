"""The results of attempts.

They are recorded only while the daemon holds the claim, so that one that was reaped changes nothing.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from daemon.model import Delivery, DeliveryState
from daemon.storage import sql
from daemon.storage.schema import attempts, deliveries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Result(NamedTuple):
    """The result of one attempt. ``next_attempt_at`` is set if ``state`` is pending."""

    delivery: Delivery
    state: DeliveryState
    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    answer: str | None
    next_attempt_at: datetime | None = None


MINE = deliveries.c.claimed_by == sa.bindparam("instance")
FAILURE = (
    deliveries.update()
    .where(deliveries.c.id == sa.bindparam("delivery"), MINE)
    .values(
        state=sa.bindparam("new_state"),
        attempts=sa.bindparam("new_attempts"),
        claimed_by=None,
        next_attempt_at=sa.func.coalesce(
            sa.bindparam("retry_at", type_=deliveries.c.next_attempt_at.type), deliveries.c.next_attempt_at
        ),
        finished_at=sa.bindparam("finished"),
        last_status=sa.bindparam("new_status"),
        last_error=sa.bindparam("new_error"),
    )
)


def record(tx: sa.Connection, results: Sequence[Result], instance: str) -> None:
    """Record attempts, and the new states of the deliveries that ``instance`` still holds."""
    delivered: defaultdict[tuple[int | None, int], list[Result]] = defaultdict(list)
    for result in results:
        if result.state is DeliveryState.DELIVERED:
            delivered[result.status, result.delivery.attempts].append(result)
    for (status, before), group in delivered.items():
        values = {"new_attempts": before + 1, "new_status": status, "finished": group[-1].at, "instance": instance}
        ids = [each.delivery.id for each in group]
        tx.execute(_success(postgres=sql.is_postgres(tx)), values | {"ids": ids})
    failed = [each for each in results if each.state is not DeliveryState.DELIVERED]
    if failed:
        tx.execute(FAILURE, [_failure(each, instance) for each in failed])
    sql.insert_rows(tx, attempts, [_attempt(each) for each in results])


@functools.cache
def _success(*, postgres: bool) -> sa.Update:
    ids = sql.among_parameter(sql.many("ids", deliveries.c.id.type), deliveries.c.id, postgres=postgres)
    return (
        deliveries.update()
        .where(ids, MINE)
        .values(
            state=DeliveryState.DELIVERED.value,
            attempts=sa.bindparam("new_attempts"),
            claimed_by=None,
            last_status=sa.bindparam("new_status"),
            last_error=None,
            finished_at=sa.bindparam("finished"),
        )
    )


def _failure(result: Result, instance: str) -> dict[str, Any]:
    return {
        "delivery": result.delivery.id,
        "instance": instance,
        "new_state": result.state.value,
        "new_attempts": result.delivery.attempts + 1,
        "retry_at": result.next_attempt_at,
        "finished": result.at if result.state is DeliveryState.DEAD else None,
        "new_status": result.status,
        "new_error": _storable(result.error),
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
    """Return text without characters that a database rejects, so that one attempt cannot block the others."""
    if text is None or (text.isascii() and "\x00" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
