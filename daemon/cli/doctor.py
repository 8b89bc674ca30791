"""The command ``doctor``: what can be wrong outside the program, each with its remedy."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors
from daemon.cli import options, terminal
from daemon.cli.group import FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.control.doctor import Diagnosis
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.overview import Overview

NAMED = ("connection", "target")  # of which there may be several
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}

app = typer.Typer(**options.PLAIN)


@app.command()
def doctor(
    ctx: typer.Context,
    *,
    config: options.Config = None,
    json: options.Json = False,
    offline: Annotated[bool, typer.Option("--offline", help="Skip checks that need the network.")] = False,
    send: Annotated[bool, typer.Option("--send", help="Send each target signed samples.")] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a tar file for a bug report, without secrets.", show_default=False),
    ] = None,
) -> None:
    """Check everything that pagerelay depends on.

    Configuration, database, PagerDuty, targets and the running daemon. Changes nothing, and sends nothing without
    --send. Exit code 1 if something failed.
    """
    if offline and send:
        raise errors.UsageError("--offline cannot be combined with --send (leave one of them out)")
    from daemon import config as configuration
    from daemon.control.doctor import configuration as configuration_checks
    from daemon.runtime import log

    try:
        settings = options.load(ctx, config)
    except errors.ConfigurationError as error:
        diagnosis = configuration_checks.unusable(error)
        _finish(diagnosis, bundle, None, None, (), json=json)
        return
    hidden = configuration.secrets(settings)
    log.configure(settings.log.format, "error", hide=hidden)
    diagnosis, status = _examine(settings, offline=offline, send=send, wants_status=bundle is not None)
    _finish(_masked(diagnosis, hidden), bundle, settings, status, hidden, json=json)


def _examine(settings: Settings, *, offline: bool, send: bool, wants_status: bool) -> tuple[Diagnosis, Overview | None]:
    """Make the checks; return the status as well, if it is wanted and the database can be read."""
    from daemon.cli import api_client
    from daemon.config import hints
    from daemon.control.doctor import Examination, examine
    from daemon.storage.database import Database

    client = api_client.connect(settings)
    address = None if client is None else client.url
    if client is not None:
        client.close()
    database = Database(settings.database.url.get_secret_value())
    try:
        examination = Examination(
            settings, database, hints=hints.of(settings), address=address, offline=offline, send=send
        )
        diagnosis = asyncio.run(examine(examination))
        return diagnosis, _status(database, settings) if wants_status else None
    finally:
        database.close()


def _status(database: Database, settings: Settings) -> Overview | None:
    from daemon.control.doctor.database import exists
    from daemon.views import overview

    if not exists(database):
        return None
    parts = settings.connections, settings.triggers, settings.targets
    try:
        database.check()
        return database.read_now(lambda tx: overview.read(tx, *parts, database.now(tx)))
    except errors.DatabaseError:
        return None


def _masked(diagnosis: Diagnosis, hidden: Sequence[str]) -> Diagnosis:
    """Return the findings without secrets, whoever's words they quote."""
    from daemon.text import mask

    findings = (
        dataclasses.replace(each, found=mask(each.found, hidden), remedy=mask(each.remedy, hidden))
        for each in diagnosis.checks
    )
    return dataclasses.replace(diagnosis, checks=tuple(findings))


def _finish(
    diagnosis: Diagnosis,
    bundle: Path | None,
    settings: Settings | None,
    status: Overview | None,
    hidden: Sequence[str],
    *,
    json: bool,
) -> None:
    """Print the findings, write the bundle, and exit with 1 if something failed."""
    if json:
        terminal.document(diagnosis)
    else:
        _print_table(diagnosis)
    if bundle is not None:
        from daemon.control.doctor import bundle as bundles

        parts = bundles.write(bundle, diagnosis, settings, status, bundles.last_log_lines(), hidden)
        terminal.note(f"wrote {bundle} with {', '.join(parts)}: every secret is removed, but names and hosts are not")
        if "log.txt" not in parts:
            terminal.note("the log was not found: attach the last lines that the daemon printed")
    if diagnosis.has_failed:
        raise typer.Exit(FAILED)


def _print_table(diagnosis: Diagnosis) -> None:
    table = terminal.TextTable("Status", "Subject", "Check", "Found", header=False)
    for each in diagnosis.checks:
        kind, _, check = each.name.partition(".")
        remedy = f" ({each.remedy})" if each.remedy else ""
        table.add_row(
            terminal.styled(each.status.value, STYLES[each.status.value]),
            terminal.plain(f"{kind} {each.subject}" if kind in NAMED else kind),
            check.replace("_", " "),
            terminal.plain(f"{each.found}{remedy}"),
        )
    terminal.console().print(table)
