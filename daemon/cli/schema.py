"""The command ``schema``."""

from __future__ import annotations

import typer

from daemon.cli import options, terminal

app = typer.Typer(**options.PLAIN)


@app.command()
def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    from daemon import config

    terminal.document(config.schema())
