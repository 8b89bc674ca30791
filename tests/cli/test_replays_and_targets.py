"""The commands for replays, redelivery and targets: they write to the database, for a daemon to notice."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from daemon.cli import app, progress
from daemon.cli import replays as cli_replays
from daemon.storage import replays, schema
from daemon.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Call


@pytest.fixture
def database(filled: str) -> Iterator[Database]:
    """Yield the database that the commands work on, something of everything in it."""
    opened = Database(filled)
    yield opened
    opened.close()


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def row(database: Database, table: sa.Table, key: Any) -> Any:
    """Return a row by its primary key."""
    (column,) = table.primary_key.columns
    return database.read_now(lambda tx: tx.execute(sa.select(table).where(column == key)).one())


def bury_daemons(database: Database) -> None:
    database.write_now(lambda tx: tx.execute(schema.instances.delete()) and None)


def send(database: Database) -> None:
    """What a daemon does: take up, deliver, take up the rest."""

    def work(tx: sa.Connection) -> None:
        now = database.now(tx)
        replays.advance(tx, now)
        of_replay = schema.deliveries.c.replay.is_not(None)
        tx.execute(schema.deliveries.update().where(of_replay).values(state="delivered", finished_at=now))
        replays.advance(tx, now)

    database.write_now(work)


def test_deliveries_are_redelivered_all_or_none(pagerelay: Call, database: Database) -> None:
    result = pagerelay("deliveries", "redeliver", "1", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "delivery 1: pending, due now, to chat\ndelivery 2: pending, due now, to ops\n"
    assert row(database, schema.deliveries, 2).replay == replays.REDELIVERED
    missing = pagerelay("deliveries", "redeliver", "5", "77")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr == "unknown delivery 77, or its message is missing (it may be pruned)\n"
    assert row(database, schema.deliveries, 5).state == "delivered"


def test_redelivering_to_a_failing_target_tries_it_at_once(pagerelay: Call, database: Database) -> None:
    later = schema.targets.update().where(schema.targets.c.name == "ops")
    at = database.read_now(database.now) + timedelta(minutes=9)
    database.write_now(lambda tx: tx.execute(later.values(probe_at=at)) and None)
    assert pagerelay("deliveries", "redeliver", "3").stdout == "delivery 3: pending, due now, to ops\n"
    assert row(database, schema.targets, "ops").probe_at is None
    pagerelay("targets", "pause", "ops")
    said = pagerelay("deliveries", "redeliver", "3").stdout
    assert said == "delivery 3: pending, waits for ops, which is paused (pagerelay targets resume ops)\n"


def test_redelivering_says_when_no_daemon_is_running(pagerelay: Call, database: Database) -> None:
    bury_daemons(database)
    result = pagerelay("deliveries", "redeliver", "2")
    assert result.exit_code == 0
    assert result.stderr == "no daemon is running to send them (start it: pagerelay run)\n"


def test_a_replay_prints_its_size_and_its_result(
    pagerelay: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(progress.Lines, "tick_until", lambda *_: None)
    monkeypatch.setattr(cli_replays, "POLL_SECONDS", 0.01)
    asleep, slept = time.sleep, threading.Event()

    def sleep(seconds: float) -> None:
        if slept.is_set():
            send(database)
        slept.set()
        asleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    result = pagerelay("replay", "--since", "1h")
    assert (result.exit_code, result.stderr) == (0, "replay 1: 0 of 3, time left unknown\n")
    assert result.stdout.splitlines() == [
        "3 deliveries of 3 events match; 2 are pending and left out (what is pending is sent anyway)",
        "replay 1 sends 3 deliveries again",
        "replay 1 finished: 3 of 3 delivered, 0 dead",
    ]


def test_a_replay_without_wait_can_be_shown_and_cancelled(pagerelay: Call, database: Database) -> None:
    result = pagerelay("replay", "--since", "1h", "--state", "dead", "--no-wait", "--json")
    replay = json.loads(result.stdout)
    assert (result.exit_code, replay["total"], replay["filters"]["state"]) == (0, 1, "dead")
    database.write_now(lambda tx: replays.advance(tx, database.now(tx)))
    assert "replay 1 running: 0 of 1 delivered, 0 dead, 1 pending (see: pagerelay replays)" in words(
        pagerelay("status").stdout
    )
    assert words(pagerelay("replays", "list").stdout)[1].startswith("1 running - - dead ")
    assert pagerelay("replays", "show", "1").stdout == "replay 1 running: 0 of 1 delivered, 0 dead, 1 pending\n"
    cancelled = pagerelay("replays", "cancel", "1")
    assert (cancelled.exit_code, cancelled.stdout) == (0, "replay 1 cancelled: 0 of 1 delivered, 0 dead\n")
    assert row(database, schema.deliveries, 2).state == "dead"
    assert json.loads(pagerelay("replays", "list", "--json").stdout)["items"][0]["state"] == "cancelled"


def test_a_replay_without_a_daemon_says_so_and_does_not_wait(pagerelay: Call, database: Database) -> None:
    bury_daemons(database)
    result = pagerelay("replay", "--since", "1h", "--target", "ops")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "replay 1 sends 1 delivery again"
    assert result.stderr == "no daemon is running to carry out replay 1 (start it: pagerelay run)\n"


def test_a_dry_run_counts_and_creates_nothing(pagerelay: Call, filled: str) -> None:
    result = pagerelay("replay", "--since", "1h ago", "--target", "ops", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "1 delivery of 1 event matches; 2 are pending and left out (what is pending is sent anyway)\n"
    )
    counted = json.loads(pagerelay("replay", "--since", "1h", "--state", "dead", "--dry-run", "--json").stdout)
    assert counted == {"events": 1, "deliveries": 1, "pending": 2}
    assert pagerelay("replays", "list").stdout == "no replays\n"


def typed(monkeypatch: pytest.MonkeyPatch, arguments: list[str], answer: str) -> tuple[str, int]:
    """Run a command on a terminal where somebody types this; return what the terminal shows, and the exit code."""
    parent, child = pty.openpty()
    os.write(parent, answer.encode())
    with (
        open(os.dup(child), encoding="utf-8") as stdin,  # noqa: PTH123 - a descriptor
        open(child, "w", encoding="utf-8") as stdout,  # noqa: PTH123 - as above
        monkeypatch.context() as patch,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stdout),
    ):
        patch.setattr(sys, "stdin", stdin)
        code = app(arguments, standalone_mode=False)
    output = b""
    with contextlib.suppress(OSError):  # a terminal whose other end is closed
        while part := os.read(parent, 65536):
            output += part
    os.close(parent)
    return output.decode(), code or 0


@pytest.mark.parametrize(
    ("arguments", "answer", "created"), [((), "n\n", False), ((), "y\n", True), (("--yes",), "", True)]
)
def test_a_terminal_is_asked_before_anything_is_sent(
    database: Database,
    configuration: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    answer: str,
    *,
    created: bool,
) -> None:
    command = ["--config", str(configuration), "replay", "--since", "1h", "--no-wait", *arguments]
    output, code = typed(monkeypatch, command, answer)
    assert "3 deliveries of 3 events match" in output
    assert ("Send them again? [y/N]" in output) is bool(answer)
    assert ("nothing is sent" in output, code) == (not created, 0 if created else 1)
    assert (database.read_now(replays.has_open)) is created


def test_an_interrupted_wait_says_that_the_replay_continues(
    pagerelay: Call, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    result = pagerelay("replay", "--since", "1h")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[0] == (
        "replay 1 continues (watch it: pagerelay replays show 1 --wait; cancel it: pagerelay replays cancel 1)"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--since", "yesterday"), "--since must be a duration such as 2h, or a time with its offset"),
        (("--since", "2026-11-01T00:00:00"), "--since must be a duration"),
        (("--since", "1h", "--until", "2h"), "--until is before --since"),
        (("--since", "2999-01-01T00:00:00Z"), "--since is in the future (use an earlier time)"),
        (("--since", "0001-01-01T00:00:00Z"), "between the years 1970 and 2999"),
        (("--since", "1h", "--target", "opps"), 'unknown target "opps" (did you mean "ops"?)'),
        (("--since", "1h", "--trigger", "ne"), 'unknown trigger "ne" (did you mean "new"?)'),
        (("--since", "1h", "--state", "pending"), 'unknown state to replay "pending" (known: delivered, dead)'),
        ((), "Missing option '--since'"),
    ],
)
def test_an_invalid_replay_is_a_usage_error_and_not_created(
    pagerelay: Call, filled: str, arguments: tuple[str, ...], message: str
) -> None:
    result = pagerelay("replay", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert pagerelay("replays", "list").stdout == "no replays\n"


def test_an_unknown_replay_is_an_error(pagerelay: Call, filled: str) -> None:
    for command in ("show", "cancel"):
        result = pagerelay("replays", command, "7")
        assert (result.exit_code, result.stderr) == (1, "unknown replay 7 (it may have been pruned)\n")


def test_targets_are_listed_paused_and_resumed(pagerelay: Call, database: Database) -> None:
    head, chat, ops = words(pagerelay("targets", "list").stdout)
    assert head == "Target State Format URL Pending Dead Last success Why"
    assert chat.startswith("chat ok standard https://chat.example.com/… 0 0 ")
    why = 'answered 503: "Disk \ufffd[31mfull\ufffd[0m on db1 [bold]" (see: pagerelay deliveries show 3)'
    assert ops == f"ops failing standard https://ops.example.com:8443/… 2 1 - failing for 3 min: {why}"
    for _ in range(2):
        paused = pagerelay("targets", "pause", "ops")
        assert paused.stdout == "ops: paused by hand (resume: pagerelay targets resume ops)\n"
    status = words(pagerelay("status").stdout)
    assert re.search(
        r"! target ops: paused by hand, for \d s \(resume: pagerelay targets resume ops\)", "\n".join(status)
    )
    assert json.loads(pagerelay("targets", "list", "--json").stdout)["items"][1]["paused_reason"] == "paused by hand"
    assert pagerelay("targets", "resume", "ops").stdout == "ops: resumed, 2 pending\n"
    target = row(database, schema.targets, "ops")
    assert (target.paused_at, target.paused_reason, target.probe_at, target.probes) == (None, None, None, 0)
    assert target.failing_since is not None, "until it accepts a message"
    result = pagerelay("targets", "pause", "opps")
    assert (result.exit_code, result.stderr) == (2, 'unknown target "opps" (did you mean "ops"?)\n')
