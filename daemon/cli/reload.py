"""The command ``reload``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors
from daemon.cli import options, terminal

if TYPE_CHECKING:
    from daemon.model import Json

app = typer.Typer(**options.PLAIN)

PATIENCE = 60.0  # seconds


@app.command()
def reload(
    ctx: typer.Context,
    *,
    config: options.Config = None,
    json: options.Json = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check, and print what would change.")] = False,
) -> None:
    """Reload the configuration of the running daemon.

    If the file has a mistake, nothing changes. Changing database.url or api.listen requires a restart.
    """
    from daemon.cli import api_client

    settings = options.load(ctx, config)
    api = api_client.connect(settings, compare=False)
    if api is None:
        raise errors.PagerelayError("reload requires api.listen and api.token (without them: kill -HUP the daemon)")
    with contextlib.closing(api):
        query = {"dry_run": "true"} if dry_run else None
        answer = api.request("POST", "/reload", query=query, patience=PATIENCE)
    if answer is None:
        raise errors.PagerelayError(f"no daemon responds at {api.url} (is it running?)")
    if json:
        terminal.document(answer)
    else:
        terminal.console().print(_lines(answer), soft_wrap=True)


def _lines(answer: Json) -> str:
    changed = [terminal.plain(path) for path in answer["changed"]]
    if not changed:
        return "nothing would change" if not answer["applied"] else "reloaded; nothing has changed"
    title = "reloaded; changed:" if answer["applied"] else "would change:"
    return "\n".join([title, *(f"  {path}" for path in changed)])
