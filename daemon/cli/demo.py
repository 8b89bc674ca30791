"""The command ``demo``."""

from __future__ import annotations

import typer

from daemon.cli import options

app = typer.Typer(**options.PLAIN)


@app.command()
def demo() -> None:
    """Show how incidents become webhooks, without an account.

    Runs a simulated account, the daemon and receivers in one process, and leaves nothing behind.
    """
    from daemon.simulator import demo as demonstration

    demonstration.run()
