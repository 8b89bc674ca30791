"""The command ``check``."""

from __future__ import annotations

import typer

from daemon.cli import options

app = typer.Typer(**options.PLAIN)


@app.command()
def check(ctx: typer.Context, *, config: options.Config = None) -> None:
    """Check the configuration, without network access.

    Prints one line for each mistake, and then exits with code 2. Notes name valid values that are probably a mistake.
    """
    from daemon.config import hints

    settings = options.load(ctx, config)
    kinds = ("connection", settings.connections), ("target", settings.targets), ("trigger", settings.triggers)
    counts = (f"{len(named)} {kind}{'' if len(named) == 1 else 's'}" for kind, named in kinds)
    for hint in hints.of(settings):
        print(f"{settings.source}: note: {hint}")
    print(f"{settings.files}: ok ({', '.join(counts)})")
