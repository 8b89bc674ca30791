"""Queueing an action: its connection, parameters and notified targets are checked first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from daemon import actions, errors, formats, text
from daemon.storage import action_queue, messages
from daemon.text import did_you_mean
from daemon.views import action_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from daemon.control.services import Services
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.action_list import ActionItem

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ActionOrder:
    """A request for an action.

    Without ``connection`` the only one is meant; without ``notify`` the configuration's targets get the result.
    Repeating an order with the same ``idempotency_key`` returns the same action.
    """

    operation: actions.Operation
    parameters: Mapping[str, Any]
    connection: str | None = None
    notify: Sequence[str] | None = None
    idempotency_key: str | None = None


async def queue(database: Database, settings: Settings, services: Services, order: ActionOrder) -> ActionItem:
    """Queue an action. Raises InvalidRequest with every mistake, and KeyReused."""
    new_action = _check(settings, order)
    item, is_new = await database.write(_accept, database, new_action)
    if is_new:
        log.info("action.accepted", action=item.id, operation=item.operation, connection=item.connection)
    services.wake(item.connection)
    services.changes.notify()
    return item


async def cancel(database: Database, services: Services, action_id: str) -> ActionItem:
    """Cancel a queued action. Raises NotFound, and Conflict if it is no longer queued."""
    item, notified = await database.write(cancel_in, database, action_id)
    log.info("action.cancelled", action=item.id, operation=item.operation, connection=item.connection)
    services.wake_targets(notified)
    services.waiting.notify([item.id])
    services.changes.notify()
    return item


def cancel_in(tx: sa.Connection, database: Database, action_id: str) -> tuple[ActionItem, Sequence[str]]:
    """Cancel a queued action; return it, and the targets that are notified. Raises as ``cancel``."""
    now = database.now(tx)
    item = action_list.find(tx, action_id)
    if item is None:
        raise errors.NotFound(f"unknown action {text.quoted(action_id)} (it may have been pruned)")
    cancelled = action_queue.cancel(tx, action_id, now)
    if cancelled is None:
        raise errors.Conflict(f"the action {action_id} is {item.state}: only a queued one can be cancelled")
    if cancelled.notify:
        messages.enqueue_action(tx, cancelled, now)
    return action_list.find(tx, action_id) or item, cancelled.notify


def operation_named(name: str) -> actions.Operation:
    """Return an operation. Raises NotFound."""
    if name in actions.REGISTRY:
        return actions.REGISTRY[name]
    hint = did_you_mean(name, actions.REGISTRY) or f" (known: {', '.join(actions.REGISTRY)})"
    raise errors.NotFound(f"unknown operation {text.quoted(name)}{hint}")


def _check(settings: Settings, order: ActionOrder) -> action_queue.NewAction:
    """Return the action to queue. Raises InvalidRequest with every mistake."""
    known = settings.connections
    name = next(iter(known), "") if order.connection is None else order.connection
    mistakes: list[errors.RequestMistake] = []
    if order.connection is None and len(known) != 1:
        mistakes.append((("connection",), f"is required (known: {', '.join(known)})"))
    elif name not in known:
        mistakes.append((("connection",), f"unknown connection{did_you_mean(name, known)}"))
    mistakes += _mistakes_in_notify(settings, order.notify or ())
    try:
        checked = actions.check(order.operation, order.parameters)
    except errors.ParameterError as error:
        mistakes += [(("parameters", *filter(None, [name])), problem) for name, problem in error.problems]
        raise errors.InvalidRequest(mistakes) from None
    if mistakes:
        raise errors.InvalidRequest(mistakes)
    return action_queue.NewAction(
        order.operation.name,
        name,
        checked.parameters,
        checked.incident_id,
        checked.batch_key,
        checked.secret,
        settings.actions_notify if order.notify is None else tuple(dict.fromkeys(order.notify)),
        order.idempotency_key,
        notify_by_default=order.notify is None,
    )


def _mistakes_in_notify(settings: Settings, notify: Sequence[str]) -> list[errors.RequestMistake]:
    mistakes: list[errors.RequestMistake] = []
    for index, name in enumerate(notify):
        place = "notify", str(index)
        target = settings.targets.get(name)
        if target is None:
            mistakes.append((place, f"unknown target{did_you_mean(name, settings.targets)}"))
        elif not formats.supports_actions(target):
            mistakes.append((place, f"uses format {target.format}, which has no payload for action results"))
    return mistakes


def _accept(tx: sa.Connection, database: Database, new_action: action_queue.NewAction) -> tuple[ActionItem, bool]:
    """Queue an action; return it, and whether it is new."""
    now = database.now(tx)
    accepted = action_queue.accept(tx, new_action, now)
    item = action_list.find(tx, accepted.id)
    assert item is not None  # noqa: S101 - for the type checker: it is in the same transaction
    return item, item.created_at == now
