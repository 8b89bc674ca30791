"""Options that several commands have, and how a command gets at the configuration. Nothing slow is imported here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from daemon.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration file.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
After = Annotated[str | None, typer.Option(metavar="CURSOR", help='Only what comes after this: "next" of --json.')]
Limit = Annotated[
    int, typer.Option(min=1, max=500, metavar="N", help="How many: the latest, or with --after the next.")
]
OfTrigger = Annotated[str | None, typer.Option(metavar="NAME", help="Only what this trigger sends.")]
OfIncident = Annotated[str | None, typer.Option(metavar="ID", help="Only of this incident.")]

LATEST = 20
PLAIN: dict[str, Any] = {
    "no_args_is_help": True,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}


def loaded(ctx: typer.Context, config: Path | None) -> Settings:
    """The configuration that the command, or ``pagerelay`` before it, was told to use."""
    from daemon import config as configuration

    return configuration.load(config or ctx.obj, os.environ)
