"""The command ``action``: checks what is asked for, queues it, waits for its end, and says what came of it.

It goes through the API of a running daemon, which takes the action up at once, or else
straight into the database, where a daemon looks every second. Each request carries an
idempotency key: one that got no answer can be made again in the other way, and is one action.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from pydantic import TypeAdapter, ValidationError

from daemon import actions, errors, formats
from daemon.cli import given, operations, outcome, remote, storage
from daemon.cli import show as terminal
from daemon.cli.failures import FAILED
from daemon.cli.nearest import must_be_one
from daemon.model import ActionState
from daemon.storage import action_queue
from daemon.views import action_list, overview

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import sqlalchemy as sa

    from daemon.actions import Checked
    from daemon.model import Json
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.action_list import ActionItem

LOOK_SECONDS = 0.2
LONGEST_WAIT = 60.0  # that the API takes
KEY = re.compile(r"[\x21-\x7e]{1,255}")  # what the API takes, too
UNFINISHED = (ActionState.QUEUED, ActionState.RUNNING)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the arguments ask for; ``notify`` is None where they do not say."""

    checked: Checked
    connection: str | None
    notify: tuple[str, ...] | None
    idempotency_key: str | None


def asked(
    operation: str | None,
    parameters: Sequence[str],
    connection: str | None,
    notify: Sequence[str] | None,
    idempotency_key: str | None,
) -> Asked:
    """The arguments, checked. Raises UsageError that says what is expected."""
    if operation is None:
        raise errors.UsageError("an operation must be named (pagerelay action --list shows them)")
    wanted = operations.find(operation)
    if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
        raise errors.UsageError("--idempotency-key must be of 1 to 255 letters, digits or signs, without blanks")
    try:
        checked = actions.check(wanted, given.read(wanted, parameters))
    except errors.ParameterError as error:
        raise errors.UsageError(f"{error}\nusage: {operations.usage(wanted)}") from None
    return Asked(checked, connection, tuple(notify) if notify else None, idempotency_key)


def act(settings: Settings, wanted: Asked, *, wait: float, json: bool) -> None:
    """Queue the action, wait for its end as long as that, and print where it stands then."""
    request = _request(settings, wanted)
    until = time.monotonic() + wait
    item = _through_a_daemon(settings, request, until) or _into_the_database(settings, request, until)
    if json:
        terminal.document(item)
    _tell(item, waited=wait, json=json)


def connection_of(settings: Settings, name: str | None) -> str:
    """The connection that is meant. Raises UsageError if that is none, or not clear."""
    known = settings.connections
    if name is None and len(known) == 1:
        return next(iter(known))
    if name is None:
        raise errors.UsageError(f"there are several connections: name one with --connection ({', '.join(known)})")
    must_be_one("connection", name, known)
    return name


def _request(settings: Settings, wanted: Asked) -> action_queue.Request:
    connection = connection_of(settings, wanted.connection)
    notify = settings.actions_notify if wanted.notify is None else tuple(dict.fromkeys(wanted.notify))
    for target in notify:
        must_be_one("target", target, settings.targets)
        if not formats.tells_actions(settings.targets[target]):
            used = settings.targets[target].format
            raise errors.UsageError(f"the target {target} has format {used}, which tells no actions (name another one)")
    return action_queue.Request(
        wanted.checked.operation,
        connection,
        wanted.checked.parameters,
        wanted.checked.subject,
        wanted.checked.together,
        wanted.checked.secret,
        notify,
        wanted.idempotency_key or f"cli-{secrets.token_hex(16)}",
    )


# --- the two ways


def _through_a_daemon(settings: Settings, request: action_queue.Request, until: float) -> ActionItem | None:
    """The action, as a daemon's API shows it; None if there is no daemon that answers."""
    api = remote.of(settings)
    if api is None:
        return None
    try:
        patience = min(max(until - time.monotonic(), 0.0), LONGEST_WAIT)
        body = {"connection": request.connection, "parameters": request.parameters, "notify": request.notify}
        with _going_on("if it was queued by then, it", "list"):
            answer = api.ask(
                "POST",
                f"/actions/{request.operation}",
                query={"wait": f"{patience:.3f}"} if patience else None,
                body=body,
                headers={"Idempotency-Key": request.idempotency_key or ""},
                patience=patience,
            )
        item = _item(answer)
        if item is None:
            return None
        with _going_on(item.id, f"show {item.id}"):
            return _ended(item, lambda: _item(api.ask("GET", f"/actions/{item.id}")), until)
    finally:
        api.close()


def _item(answer: Json | None) -> ActionItem | None:
    """The action that an answer shows; None if it shows none, for who answers may be somebody else."""
    try:
        return TypeAdapter(action_list.ActionItem).validate_python(answer)
    except ValidationError:
        return None


def _into_the_database(settings: Settings, request: action_queue.Request, until: float) -> ActionItem:
    """The action, put into the queue here; a daemon that looks there carries it out."""
    with storage.opened(settings) as database:
        action_id, alone = database.write_now(_accept, database, request)
        with _going_on(action_id, f"show {action_id}"):
            item = _found(database, action_id)
            if alone and item.state in UNFINISHED:
                terminal.note("queued; no daemon is running to carry it out (start it: pagerelay run)")
            return _ended(item, lambda: _found(database, action_id), until)


def _accept(tx: sa.Connection, database: Database, request: action_queue.Request) -> tuple[str, bool]:
    now = database.now(tx)
    return action_queue.accept(tx, request, now).id, not overview.live_instances(tx, now)


def _found(database: Database, action_id: str) -> ActionItem:
    found = database.read_now(action_list.find, action_id)
    if found is None:
        raise errors.PagerelayError(f"the action {action_id} is gone from the database")
    return found


def _ended(item: ActionItem, look: Callable[[], ActionItem | None], until: float) -> ActionItem:
    """The action when it has ended, or when the time is up."""
    while item.state in UNFINISHED and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
        item = look() or item
    return item


@contextlib.contextmanager
def _going_on(what: str, where: str) -> Iterator[None]:
    """Say to whoever stops waiting that the action does not stop."""
    try:
        yield
    except KeyboardInterrupt:
        terminal.note(f"{what} goes on without you (look: pagerelay actions {where})")
        raise


# --- what is said


def _tell(item: ActionItem, *, waited: float, json: bool) -> None:
    """One line: on stdout what went well, on stderr what did not, and then exit code 1."""
    line = outcome.line(item)
    if item.state is ActionState.FAILED:
        terminal.note(line)
        raise typer.Exit(FAILED)
    if item.state in UNFINISHED and waited:
        terminal.note(f"{line}: no end within {waited:g} s. It goes on (look: pagerelay actions show {item.id})")
        raise typer.Exit(FAILED)
    if not json:
        terminal.console().print(line, soft_wrap=True)
