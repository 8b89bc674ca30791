"""The command ``action``: checks a request, queues it, waits for its end and prints its result.

The request goes through the API of a running daemon, which carries it out at once, or else
straight into the database, where a daemon looks every second. Each request has an
idempotency key: if the API's response is lost, the same request in the database is the same action.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors
from daemon.cli import agreement, completion, names, options, terminal
from daemon.model import ActionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa

    from daemon.actions import Checked
    from daemon.model import Json
    from daemon.settings import Settings
    from daemon.storage.action_queue import NewAction
    from daemon.storage.database import Database
    from daemon.views.action_list import ActionItem

LONGEST_WAIT = 3600  # seconds
LONGEST_API_WAIT = 60.0  # seconds
POLL_SECONDS = 0.2
KEY = re.compile(r"[\x21-\x7e]{1,255}")  # as in the API
UNFINISHED = (ActionState.QUEUED, ActionState.RUNNING)

OPERATION = typer.Argument(
    metavar="OPERATION",
    help="The operation; --list shows all of them.",
    autocompletion=completion.operations,
    show_default=False,
)
PARAMETERS = typer.Argument(
    metavar="KEY=VALUE",
    help="Its parameters. key=@file reads a file, key=- standard input, key=@@text means @text.",
    autocompletion=completion.parameters,
    show_default=False,
)

app = typer.Typer(**options.PLAIN)


@app.command()
def action(
    ctx: typer.Context,
    operation: Annotated[str | None, OPERATION] = None,
    parameters: Annotated[list[str] | None, PARAMETERS] = None,
    *,
    config: options.Config = None,
    json: options.Json = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the operations and their parameters.")] = False,
    connection: options.Connection = None,
    wait: Annotated[
        float, typer.Option(min=0, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for its result.")
    ] = 0,
    notify: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="Send the result to this target; may be given several times."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Repeating a request with the same key does not repeat the action."),
    ] = None,
) -> None:
    """Change or read something in PagerDuty.

    Queues the action, which a running daemon carries out at once. Exit code 0: it is queued, or with --wait
    it succeeded; 1: it failed, or did not finish in time; 2: invalid usage, and nothing is queued.
    """
    from daemon.cli import operations

    if list_all:
        operations.show(json=json)
        return
    if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
        raise errors.UsageError("--idempotency-key must be 1 to 255 printable ASCII characters without spaces")
    checked = operations.check(operation, parameters or [])
    settings = options.load(ctx, config)
    key = idempotency_key or f"cli-{secrets.token_hex(16)}"
    request = _request(settings, checked, connection, notify, key)
    deadline = time.monotonic() + wait
    item = _through_api(settings, request, deadline) or _through_database(settings, request, deadline)
    if json:
        terminal.document(item)
    _report(item, wait=wait, json=json)


def _request(
    settings: Settings, checked: Checked, connection: str | None, notify: list[str] | None, key: str
) -> NewAction:
    """Return the request for the queue. Raises UsageError for an unknown or missing connection or target."""
    from daemon import formats
    from daemon.storage import action_queue

    connection = names.choose_connection(settings, connection)
    targets = tuple(dict.fromkeys(notify)) if notify else settings.actions_notify
    for name in targets:
        names.must_be_known("target", name, settings.targets)
        if not formats.supports_actions(settings.targets[name]):
            reason = f"uses format {settings.targets[name].format}, which has no payload for action results"
            raise errors.UsageError(f"the target {name} {reason} (use another target)")
    return action_queue.NewAction(
        operation=checked.operation,
        connection=connection,
        parameters=checked.parameters,
        incident_id=checked.incident_id,
        batch_key=checked.batch_key,
        secret=checked.secret,
        notify=targets,
        idempotency_key=key,
        notify_by_default=not notify,
    )


def _through_api(settings: Settings, request: NewAction, deadline: float) -> ActionItem | None:
    """Return the action as a daemon's API shows it, or None if no daemon responds."""
    from daemon.cli import api_client

    api = api_client.connect(settings)
    if api is None:
        return None
    with contextlib.closing(api):
        patience = min(max(deadline - time.monotonic(), 0.0), LONGEST_API_WAIT)
        body = {"connection": request.connection, "parameters": request.parameters}
        if not request.notify_by_default:
            body["notify"] = request.notify
        with _continuing("the action, if it was already queued,", "list"):
            response = api.request(
                "POST",
                f"/actions/{request.operation}",
                query={"wait": f"{patience:.3f}"} if patience else None,
                body=body,
                headers={"Idempotency-Key": request.idempotency_key or ""},
                patience=patience,
            )
        item = _item(response)
        if item is None:
            return None
        with _continuing(item.id, f"show {item.id}"):
            return _wait(item, lambda: _item(api.request("GET", f"/actions/{item.id}")), deadline)


def _item(response: Json | None) -> ActionItem | None:
    """Return the action in a response, or None if there is none: another server may listen at that address."""
    from pydantic import TypeAdapter, ValidationError

    from daemon.views.action_list import ActionItem

    try:
        return TypeAdapter(ActionItem).validate_python(response)
    except ValidationError:
        return None


def _through_database(settings: Settings, request: NewAction, deadline: float) -> ActionItem:
    """Put the action into the queue, and return it as it is at the deadline or when it ended."""
    from daemon.cli.database import opened

    with opened(settings) as database:
        agreement.check_in(database, settings)
        action_id, is_running = database.write_now(_accept, database, request)
        with _continuing(action_id, f"show {action_id}"):
            item = _read(database, action_id)
            if not is_running and item.state in UNFINISHED:
                terminal.note("queued; no daemon is running to carry it out (start it: pagerelay run)")
            return _wait(item, lambda: _read(database, action_id), deadline)


def _accept(tx: sa.Connection, database: Database, request: NewAction) -> tuple[str, bool]:
    from daemon.storage import action_queue
    from daemon.views import overview

    now = database.now(tx)
    return action_queue.accept(tx, request, now).id, bool(overview.live_instances(tx, now))


def _read(database: Database, action_id: str) -> ActionItem:
    from daemon.views import action_list

    item = database.read_now(action_list.find, action_id)
    if item is None:
        raise errors.PagerelayError(f"unknown action {action_id} (it may have been pruned)")
    return item


def _wait(item: ActionItem, read: Callable[[], ActionItem | None], deadline: float) -> ActionItem:
    """Return the action when it has ended, or at the deadline."""
    while item.state in UNFINISHED and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, POLL_SECONDS))
        item = read() or item
    return item


@contextlib.contextmanager
def _continuing(subject: str, see: str) -> Iterator[None]:
    """Say on Ctrl-C that the action is not cancelled."""
    try:
        yield
    except KeyboardInterrupt:
        terminal.note(f"{subject} continues (see: pagerelay actions {see})")
        raise


def _report(item: ActionItem, *, wait: float, json: bool) -> None:
    """Print the result in one line: success to stdout, else to stderr, with exit code 1."""
    from daemon.cli import outcome
    from daemon.cli.group import FAILED

    line = outcome.line(item)
    if item.state is ActionState.FAILED:
        terminal.note(line)
        raise typer.Exit(FAILED)
    if item.state in UNFINISHED and wait:
        terminal.note(f"{line}: not finished within {wait:g} s; it continues (see: pagerelay actions show {item.id})")
        raise typer.Exit(FAILED)
    if not json:
        terminal.console().print(line, soft_wrap=True)
