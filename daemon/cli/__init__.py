"""The command line. Its output is for people, and with ``--json`` for programs.

``COMMANDS`` lists the commands; each is declared in its own module, which is imported only to run it, to show its
help or to complete it. What a command needs beyond that, it imports when it runs.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

import daemon
from daemon.cli.group import Commands
from daemon.cli.options import PLAIN, Config
from daemon.runtime.interpreter import NEW_OBJECTS

COMMANDS = {  # name -> where its Typer is, and the first line of its help
    "run": ("run:app", "Run the daemon until SIGTERM or Ctrl-C."),
    "check": ("check:app", "Check the configuration, without network access."),
    "doctor": ("doctor:app", "Check everything that pagerelay depends on."),
    "reload": ("reload:app", "Reload the configuration of the running daemon."),
    "demo": ("demo:app", "Show how incidents become webhooks, without an account."),
    "simulator": ("simulator:app", "Serve a simulated PagerDuty account for tests."),
    "status": ("status:app", "Show the status of everything, failures first."),
    "events": ("events:app", "List what happened to incidents, oldest first."),
    "replay": ("replay:app", "Send delivered and dead messages again."),
    "action": ("action:app", "Change or read something in PagerDuty."),
    "incidents": ("pick_lists:incidents", "List the newest open incidents, with their ids."),
    "users": ("pick_lists:users", "List users, with their ids."),
    "policies": ("pick_lists:policies", "List escalation policies, with their ids."),
    "schema": ("schema:app", "Print the configuration's JSON Schema, for editors."),
    "actions": ("actions:app", "List, show and cancel actions."),
    "deliveries": ("deliveries:app", "List, show and redeliver deliveries."),
    "replays": ("replays:app", "List, show and cancel replays."),
    "targets": ("targets:app", "List, pause, resume and test targets."),
    "db": ("db:app", "Upgrade, prune, back up and restore the database."),
}


class PagerelayCommands(Commands):
    """The commands of ``pagerelay``."""

    table = COMMANDS


app = typer.Typer(
    name="pagerelay",
    help="PagerDuty in, signed webhooks out.",
    cls=PagerelayCommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    **PLAIN | {"add_completion": True},
)


def main() -> None:
    """Run the console script ``pagerelay``."""
    gc.set_threshold(NEW_OBJECTS)  # imports make many objects, and none of them is garbage
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for plugins is a tenth of a command's start
    app(prog_name="pagerelay")


def _version(value: bool) -> None:  # noqa: FBT001 - typer passes the value by position
    if value:
        print(f"pagerelay {daemon.__version__}")
        raise typer.Exit


@app.callback()
def pagerelay(
    ctx: typer.Context,
    *,
    config: Config = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Print the traceback of an unexpected error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """PagerDuty in, signed webhooks out."""
    del traceback, version  # read by ``Commands`` and ``_version``
    ctx.obj = config
