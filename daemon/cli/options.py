"""Options that several commands share, and the configuration that a command works with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from daemon.config import Loaded
    from daemon.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration file.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
After = Annotated[
    str | None,
    typer.Option(metavar="CURSOR", help='Only entries after this cursor: "next" in an earlier --json output.'),
]
Limit = Annotated[
    int, typer.Option(min=1, max=500, metavar="N", help="How many entries: the latest, or with --after the next ones.")
]
OfTrigger = Annotated[str | None, typer.Option(metavar="NAME", help="Only messages of this trigger.")]
OfTarget = Annotated[str | None, typer.Option(metavar="NAME", help="Only deliveries to this target.")]
OfIncident = Annotated[str | None, typer.Option(metavar="ID", help="Only entries about this incident.")]
OfConnection = Annotated[str | None, typer.Option(metavar="NAME", help="Only entries of this connection.")]
Connection = Annotated[
    str | None, typer.Option(metavar="NAME", help="The PagerDuty account; required if there are several.")
]

LATEST = 20
PLAIN: dict[str, Any] = {
    "no_args_is_help": True,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "add_completion": False,  # only ``pagerelay`` itself has --install-completion
}


def load(ctx: typer.Context, config: Path | None) -> Settings:
    """Return the configuration named by the command or by ``pagerelay`` before it."""
    return read(ctx, config).settings


def read(ctx: typer.Context, config: Path | None) -> Loaded:
    """Return the same configuration, as the settings and as the values of the file."""
    from daemon import config as configuration

    return configuration.read(config or ctx.obj, os.environ)
