"""The command ``run``: the daemon itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from daemon.cli import options

if TYPE_CHECKING:
    from daemon.config import Loaded

app = typer.Typer(**options.PLAIN)


@app.command()
def run(ctx: typer.Context, *, config: options.Config = None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C."""
    run_daemon(options.read(ctx, config))


def run_daemon(loaded: Loaded) -> None:
    """Run the daemon in this process."""
    settings = loaded.settings
    import uvloop

    from daemon import app as application
    from daemon import config
    from daemon.runtime import interpreter, log

    log.configure(settings.log.format, settings.log.level, hide=config.secrets(settings))
    interpreter.tune()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(application.run(loaded))
