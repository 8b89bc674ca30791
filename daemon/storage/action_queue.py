"""The queue of actions: functions that accept, claim, record and prune them.

Plain functions on an open transaction. A claim is ``claimed_by``, the id of the daemon that carries the action out;
later writes only apply while the claim lasts. Actions on one incident are claimed one after the other, in the order
of their arrival; a waiting action does not hold up others.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon import errors
from daemon.model import Action, ActionState, Outcome
from daemon.storage import sql
from daemon.storage.schema import UNFINISHED, actions, instances, messages

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from daemon.model import Json

QUEUED, RUNNING = ActionState.QUEUED.value, ActionState.RUNNING.value
ID_BYTES = 13
LONGEST_PAUSE = timedelta(minutes=5)  # a later retry dates from before the clock was set back


@dataclass(frozen=True, slots=True)
class NewAction:
    """A request for an action, with valid parameters. ``notify_by_default``: the request did not name ``notify``."""

    operation: str
    connection: str
    parameters: Json
    incident_id: str | None
    batch_key: str | None
    secret: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    idempotency_key: str | None = None
    notify_by_default: bool = False

    def digest(self) -> str:
        """Return a digest that identifies a repeated request; the default of ``notify`` may change in between."""
        return self._digest_with(None if self.notify_by_default else self.notify)

    def repeats(self, digest: str) -> bool:
        """Return whether this is the request of a stored digest; before, they included the default of ``notify``."""
        return digest in (self.digest(), self._digest_with(self.notify))

    def _digest_with(self, notify: tuple[str, ...] | None) -> str:
        parts = [self.operation, self.connection, self.parameters, notify]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class End:
    """The end of an action: its final state and its result or error."""

    action: Action
    state: ActionState
    outcome: Outcome | None = None
    result: Json | None = None
    error: Json | None = None


def accept(tx: sa.Connection, request: NewAction, now: datetime) -> Action:
    """Queue an action, or return the existing one of a repeated request with the same key.

    Raises KeyReused if the key was used with another request.
    """
    if request.incident_id is not None:
        _lock_incident(tx, request.connection, request.incident_id)
    if request.idempotency_key is not None:
        tx.execute(_lock_keys(tx))
        existing = tx.execute(
            sa.select(actions).where(actions.c.idempotency_key == request.idempotency_key)
        ).one_or_none()
        if existing is not None:
            if not request.repeats(existing.digest):
                message = "this Idempotency-Key was already used with another request (use a new one)"
                raise errors.KeyReused(message)
            return of_row(existing)
    row = {
        "id": f"act_{secrets.token_hex(ID_BYTES)}",
        "operation": request.operation,
        "connection": request.connection,
        "parameters": _text(request.parameters),
        "secret": _text(request.secret),
        "subject": request.incident_id,
        "together": request.batch_key,
        "notify": _text(request.notify),
        "idempotency_key": request.idempotency_key,
        "digest": request.digest(),
        "state": QUEUED,
        "tries": 0,
        "created_at": now,
        "next_try_at": now,
    }
    return of_row(tx.execute(actions.insert().values(row).returning(actions)).one())


def _lock_incident(tx: sa.Connection, connection: str, incident_id: str) -> None:
    """Let actions on one incident get their numbers in the order in which they commit, until the transaction ends."""
    if sql.is_postgres(tx):
        name = f"{connection}\x1f{incident_id}".encode()
        number = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def _lock_keys(tx: sa.Connection) -> sa.Executable:
    """Return a statement that makes simultaneous requests with one key wait for each other."""
    if sql.is_postgres(tx):
        return sa.text("SELECT pg_advisory_xact_lock(7243091143)")
    return sa.text("SELECT 1")  # SQLite has one writer at a time


def claim(
    tx: sa.Connection, connection: str, instance: str, now: datetime, most_in_batch: int
) -> tuple[list[Action], datetime | None]:
    """Claim the oldest action that may run, and those that can be sent in one request with it.

    Returns the actions and when to look again; None means that nothing is queued.
    """
    # A daemon runs one batch at a time: what it still holds is left over from a batch that it could not record.
    mine = (actions.c.state == RUNNING) & (actions.c.claimed_by == instance)
    requeued = actions.update().where(UNFINISHED, actions.c.connection == connection, mine)
    tx.execute(requeued.values(state=QUEUED, claimed_by=None))
    earlier = actions.alias()
    first_of_incident = ~sa.exists().where(
        earlier.c.connection == actions.c.connection,
        earlier.c.subject == actions.c.subject,
        earlier.c.seq < actions.c.seq,
        earlier.c.state.in_([QUEUED, RUNNING]),
    )
    due_now = (actions.c.next_try_at <= now) | (actions.c.next_try_at > now + LONGEST_PAUSE)
    waiting = (actions.c.connection == connection, UNFINISHED, actions.c.state == QUEUED, due_now)
    ready = sa.select(actions.c.id, actions.c.operation, actions.c.together).where(*waiting, first_of_incident)
    ids = _oldest_batch(tx, ready, most_in_batch)
    if not ids:
        queued = (actions.c.connection == connection, UNFINISHED, actions.c.state == QUEUED)
        return [], tx.execute(sa.select(sa.func.min(actions.c.next_try_at)).where(*queued)).scalar()
    unclaimed = sql.among(tx, actions.c.id, ids) & (actions.c.state == QUEUED)  # another replica may have claimed some
    claimed = (
        actions.update()
        .where(unclaimed)
        .values(
            state=RUNNING,
            claimed_by=instance,
            tries=actions.c.tries + 1,
            started_at=sa.func.coalesce(
                actions.c.started_at, sa.bindparam("now", now, type_=actions.c.started_at.type)
            ),
        )
    )
    rows = tx.execute(claimed.returning(actions)).all()
    return [of_row(row) for row in sorted(rows, key=lambda row: row.seq)], now


def _oldest_batch(tx: sa.Connection, ready: sa.Select[Any], most_in_batch: int) -> list[str]:
    """Return the ids of the oldest action that is ready, and of those that can be sent in one request with it."""
    first = tx.execute(ready.order_by(actions.c.seq).limit(1)).one_or_none()
    if first is None:
        return []
    if first.together is None:
        return [first.id]
    same_batch = (actions.c.operation == first.operation) & (actions.c.together == first.together)
    return [row.id for row in tx.execute(ready.where(same_batch).order_by(actions.c.seq).limit(most_in_batch))]


def begin(tx: sa.Connection, instance: str, incidents: Mapping[str, Json | None], now: datetime) -> bool:
    """Record that writing to PagerDuty begins, keeping an earlier time. ``incidents`` has the state before, by action.

    Returns False if the daemon no longer holds every action: then it must not write.
    """
    count = 0
    for action_id, incident in incidents.items():
        statement = _mine(action_id, instance).values(
            written_at=sa.func.coalesce(
                actions.c.written_at, sa.bindparam("now", now, type_=actions.c.written_at.type)
            ),
            trace=sa.case((actions.c.written_at.is_(None), _before(incident)), else_=actions.c.trace),
        )
        count += tx.execute(statement).rowcount
    return count == len(incidents)


def _before(incident: Json | None) -> sa.ColumnElement[Any]:
    return sa.null() if incident is None else sa.literal(_text(incident), sa.Text)


def put_off(
    tx: sa.Connection, action_id: str, instance: str, until: datetime, error: Json | None, *, alone: bool = False
) -> None:
    """Queue an action again, to run at ``until``; ``alone``: not in one request with others."""
    values: dict[str, Any] = {"state": QUEUED, "claimed_by": None, "next_try_at": until}
    if error is not None:
        values["error"] = _text(error)
    if alone:
        values["together"] = None
    tx.execute(_mine(action_id, instance).values(values))


def end(tx: sa.Connection, final: End, instance: str, now: datetime) -> Action | None:
    """Record the end of an action and mask its secrets. Returns None if the daemon no longer holds the action."""
    return _ended(tx, _mine(final.action.id, instance), final, now)


def _ended(tx: sa.Connection, update: sa.Update, final: End, now: datetime) -> Action | None:
    """Record the end of the action that ``update`` selects. Returns None if it selects none."""
    values = {
        "state": final.state.value,
        "claimed_by": None,
        "parameters": _text(final.action.shown_parameters),
        "outcome": None if final.outcome is None else final.outcome.value,
        "result": None if final.result is None else _text(final.result),
        "error": None if final.error is None else _text(final.error),
        "trace": None,
        "finished_at": now,
    }
    row = tx.execute(update.values(values).returning(actions)).one_or_none()
    return None if row is None else of_row(row)


def cancel(tx: sa.Connection, action_id: str, now: datetime) -> Action | None:
    """End a queued action as failed, with the error ``cancelled``. Returns None if it is not queued."""
    queued = (actions.c.id == action_id) & (actions.c.state == QUEUED)
    row = tx.execute(sa.select(actions).where(queued)).one_or_none()
    if row is None:
        return None
    doubt = "" if row.written_at is None else "; an earlier try may have taken effect"
    error = {"code": "cancelled", "message": f"cancelled while it was queued{doubt}"}
    return _ended(tx, actions.update().where(queued), End(of_row(row), ActionState.FAILED, error=error), now)


def give_back(tx: sa.Connection, ids: Collection[str], instance: str) -> None:
    """Return unfinished actions to the queue."""
    for action_id in ids:
        tx.execute(_mine(action_id, instance).values(state=QUEUED, claimed_by=None))


def release(tx: sa.Connection, dead: Collection[str]) -> None:
    """Return to the queue the actions of dead daemons, and those that a stopped daemon could not return."""
    unknown = actions.c.claimed_by.not_in(sa.select(instances.c.id))
    held = (actions.c.state == RUNNING) & (sql.among(tx, actions.c.claimed_by, list(dead)) | unknown)
    tx.execute(actions.update().where(UNFINISHED, held).values(state=QUEUED, claimed_by=None))


def notes_of_others(tx: sa.Connection, action: Action) -> frozenset[str]:
    """Return the ids of the notes that other actions have added to the same incident."""
    others = (
        actions.c.connection == action.connection,
        actions.c.subject == action.incident_id,
        actions.c.operation == action.operation,
        actions.c.id != action.id,
        actions.c.result.is_not(None),
    )
    results = (orjson.loads(each) for each in tx.execute(sa.select(actions.c.result).where(*others)).scalars())
    return frozenset(str(each["note"]["id"]) for each in results if each.get("note", {}).get("id"))


def find(tx: sa.Connection, action_id: str) -> Action | None:
    """Return an action, or None for an unknown id."""
    row = tx.execute(sa.select(actions).where(actions.c.id == action_id)).one_or_none()
    return None if row is None else of_row(row)


def queued(tx: sa.Connection, connection: str) -> list[str]:
    """Return the ids of a connection's queued actions, the oldest first."""
    mine = (actions.c.connection == connection, UNFINISHED, actions.c.state == QUEUED)
    return list(tx.execute(sa.select(actions.c.id).where(*mine).order_by(actions.c.seq)).scalars())


def count_orphaned(tx: sa.Connection, connections: Collection[str]) -> dict[str, int]:
    """Return the number of queued actions of each connection that is not among these."""
    waiting = actions.c.state == QUEUED, ~sql.among(tx, actions.c.connection, connections)
    counted = sa.select(actions.c.connection, sa.func.count()).where(*waiting).group_by(actions.c.connection)
    return {row[0]: row[1] for row in tx.execute(counted)}


def prune(tx: sa.Connection, retention: timedelta, now: datetime, limit: int) -> int:
    """Remove actions that ended more than ``retention`` ago, at most ``limit``; return how many.

    Their idempotency keys go with them. Actions with a message are kept.
    """
    has_message = sa.exists().where(messages.c.action_id == actions.c.id)
    old = sa.select(actions.c.seq).where(actions.c.finished_at < now - retention, ~has_message)
    old = old.order_by(actions.c.finished_at)
    return int(tx.execute(actions.delete().where(actions.c.seq.in_(old.limit(limit)))).rowcount)


def load(tx: sa.Connection, ids: Collection[str]) -> dict[str, Action]:
    """Return actions by id."""
    rows: Sequence[Any] = tx.execute(sa.select(actions).where(sql.among(tx, actions.c.id, list(ids)))).all()
    return {row.id: of_row(row) for row in rows}


def of_row(row: Any) -> Action:  # noqa: ANN401 - a row of the actions table
    """Return the action of a row."""
    return Action(
        id=row.id,
        operation=row.operation,
        connection=row.connection,
        parameters=orjson.loads(row.parameters),
        secret=tuple(orjson.loads(row.secret)),
        incident_id=row.subject,
        notify=tuple(orjson.loads(row.notify)),
        state=ActionState(row.state),
        created_at=row.created_at,
        runs=row.tries,
        started_at=row.started_at,
        write_began_at=row.written_at,
        before=_json(row.trace),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        result=_json(row.result),
        error=_json(row.error),
        finished_at=row.finished_at,
    )


def _mine(action_id: str, instance: str) -> sa.Update:
    held = (actions.c.id == action_id) & (actions.c.claimed_by == instance) & (actions.c.state == RUNNING)
    return actions.update().where(held)


def _text(value: object) -> str:
    return orjson.dumps(value).decode()


def _json(value: str | None) -> Json | None:
    return None if value is None else orjson.loads(value)
