"""The commands: their names, options and help. What they do is in the modules beside, imported when one runs.

That keeps ``--help`` and ``check`` quick: neither imports a database, HTTP or the daemon.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import daemon
from daemon.cli import action_commands, sending_commands
from daemon.cli.failures import Commands
from daemon.cli.options import LATEST, PLAIN, After, Config, Json, Limit, OfIncident, OfTrigger, loaded

app = typer.Typer(
    name="pagerelay",
    help="PagerDuty in, signed webhooks out.",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    **PLAIN,
)
deliveries = typer.Typer(help="Look at what is sent to each target, and send it again.", add_completion=False, **PLAIN)
db = typer.Typer(help="Look after the database.", add_completion=False, **PLAIN)


def main() -> None:
    """The console script ``pagerelay``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="pagerelay")


def _version(asked: bool) -> None:  # noqa: FBT001 - typer's callbacks get the value
    if asked:
        print(f"pagerelay {daemon.__version__}")
        raise typer.Exit


@app.callback()
def everything(
    ctx: typer.Context,
    *,
    config: Config = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an unexpected error comes from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """PagerDuty in, signed webhooks out."""
    del traceback, version  # read by ``Commands`` and ``_version``
    ctx.obj = config


@app.command()
def run(ctx: typer.Context, *, config: Config = None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C."""
    settings = loaded(ctx, config)
    from daemon.cli import running

    running.run(settings)


@app.command()
def check(ctx: typer.Context, *, config: Config = None) -> None:
    """Check the configuration, offline.

    One line for each mistake, and then exit code 2.
    """
    settings = loaded(ctx, config)
    kinds = ("connection", settings.connections), ("target", settings.targets), ("trigger", settings.triggers)
    counts = (f"{len(named)} {kind}{'' if len(named) == 1 else 's'}" for kind, named in kinds)
    print(f"{settings.source}: ok ({', '.join(counts)})")


@app.command()
def demo() -> None:
    """Show incidents becoming webhooks, without an account.

    Runs simulator, daemon and a receiver in one process, and leaves nothing behind.
    """
    from daemon.cli import running

    running.demo()


@app.command()
def simulator(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen on 127.0.0.1; 0: any free port.")] = 8422,
    rate: Annotated[float, typer.Option(min=0, help="Incidents to invent per minute.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="The same seed invents the same incidents.")] = None,
    api_key: Annotated[str, typer.Option(metavar="KEY", help="The API key that the account takes.")] = "simulator",
) -> None:
    """Serve a PagerDuty account to try things with.

    It lives in memory and listens on 127.0.0.1 only.
    """
    from daemon.cli import running

    running.simulator(port=port, rate=rate, seed=seed, api_key=api_key)


@app.command()
def status(
    ctx: typer.Context,
    *,
    config: Config = None,
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every two seconds.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every trigger, however many.")] = False,
) -> None:
    """Show how everything is doing, what fails first.

    Reads the database: the daemon need not run.
    """
    settings = loaded(ctx, config)
    from daemon.cli import overview

    overview.show(settings, json=json, watch=watch, everything=everything)


@app.command()
def events(
    ctx: typer.Context,
    *,
    config: Config = None,
    json: Json = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones, until Ctrl-C.")] = False,
    limit: Limit = LATEST,
    after: After = None,
    trigger: OfTrigger = None,
    incident: OfIncident = None,
    kind: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Such as incident.resolved.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this connection.")] = None,
) -> None:
    """List what happened to incidents, oldest first."""
    settings = loaded(ctx, config)
    from daemon.cli import journal

    filters = {"trigger": trigger, "incident": incident, "type": kind, "connection": connection}
    journal.show(settings, filters, limit=limit, after=after, follow=follow, json=json)


@deliveries.command("list")
def deliveries_list(
    ctx: typer.Context,
    *,
    config: Config = None,
    json: Json = False,
    limit: Limit = LATEST,
    after: After = None,
    trigger: OfTrigger = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only for this target.")] = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="pending, delivered or dead.")] = None,
    incident: OfIncident = None,
) -> None:
    """List deliveries, oldest first."""
    settings = loaded(ctx, config)
    from daemon.cli import outbox

    filters = {"trigger": trigger, "target": target, "state": state, "incident": incident}
    outbox.show(settings, filters, limit=limit, after=after, json=json)


@deliveries.command("show")
def deliveries_show(
    ctx: typer.Context,
    delivery: Annotated[int, typer.Argument(metavar="ID", help="The delivery's number.")],
    *,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show one delivery with its attempts."""
    settings = loaded(ctx, config)
    from daemon.cli import outbox

    outbox.show_one(settings, delivery, json=json)


deliveries.command("redeliver")(sending_commands.redeliver)
app.command()(sending_commands.replay)
app.command()(action_commands.action)
for pick_list in (action_commands.incidents, action_commands.users, action_commands.policies):
    app.command()(pick_list)


@db.command("upgrade")
def db_upgrade(ctx: typer.Context, *, config: Config = None) -> None:
    """Bring the database to this version's schema.

    The daemon does so itself when it starts.
    """
    settings = loaded(ctx, config)
    from daemon.cli import storage

    storage.upgrade(settings)


@db.command("prune")
def db_prune(ctx: typer.Context, *, config: Config = None) -> None:
    """Remove what is older than the retention says.

    A running daemon does so itself, every ten minutes.
    """
    settings = loaded(ctx, config)
    from daemon.cli import storage

    storage.prune(settings)


@app.command()
def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    from daemon.cli import show
    from daemon.config import schema as made

    show.document(made())


app.add_typer(action_commands.actions, name="actions")
app.add_typer(deliveries, name="deliveries")
app.add_typer(sending_commands.replays, name="replays")
app.add_typer(sending_commands.targets, name="targets")
app.add_typer(db, name="db")
