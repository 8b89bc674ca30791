"""Every list on terminals of several widths, with long, foreign and hostile texts."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import threading
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import pytest
import typer
from rich.text import Text

from daemon.cli import app
from daemon.storage import schema
from daemon.storage.database import Database, system_clock
from tests.cli.conftest import invoke
from tests.harness import sample_data

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import sqlalchemy as sa

LONG = "payments-and-settlement-notifications-receiver-of-the-emea-2"
EVIL = "\u202eevil\u202c [bold red]markup[/] \x1b]0;title\x07 \x9b31m :smile: \u2066now\u2069"
JAPANESE = "ディスクがいっぱいです、セッションテーブルが大きくなりました、古いものを削除しています"
FIRES = "🔥🔥 Payment 💳 latency above 2 s in the region eu-central-1 for more than ten minutes"
REASON = "could not connect: the certificate of hooks.example.internal is not trusted: self-signed certificate"
LISTS = ("events", "deliveries list", "actions list", "replays list", "targets list", "status", "action --list")
WIDTHS = (80, 100, 200)


class OnTerminal(Protocol):
    """Calls ``pagerelay`` on a terminal of some width; returns what the terminal gets."""

    def __call__(self, width: int, *arguments: str) -> str: ...


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    folder = tmp_path_factory.mktemp("widths")
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'pagerelay.db')}"
    database = Database(url)
    now = system_clock()
    database.write_now(sample_data.fill, now)
    database.write_now(fill, now)
    database.close()
    path = sample_data.settings(folder, url).source
    target = f'{{url: "http://127.0.0.1:8080/abc", secret: {sample_data.SECRET}}}'
    trigger = f"{{on: incident.custom_field_values.updated, connection: acme, to: [{LONG}, ops]}}"
    text = path.read_text().replace(
        "triggers:\n", f"  {LONG}: {target}\n  slow: {target}\ntriggers:\n  {LONG}: {trigger}\n"
    )
    path.write_text(text)
    return path


def fill(tx: sa.Connection, now: datetime) -> None:
    """Insert rows with difficult texts."""
    types = "incident.custom_field_values.updated", "incident.assigned", "incident.annotated"
    more: tuple[dict[str, Any], ...] = (
        {},
        {"assignees": [{"id": "PBOB", "summary": "Bob Brown"}, {"id": "PKOSTAS", "summary": "Κώστας"}]},
        {"note": {"content": f"Space is back.\n{EVIL}"}},
    )
    for number, kind, title, others in zip((10, 11, 12), types, (JAPANESE, FIRES, EVIL), more, strict=True):
        payload = {"agent": {"summary": "Alice Archer"}, "incident": {"title": title}, "assignees": None, "note": None}
        row = sample_data.event(number, now, type=kind, incident_id="Q1H0Q9CIVNR7G8")
        sample_data.insert(tx, schema.events, row | {"payload": orjson.dumps(payload | others).decode()})
        sample_data.insert(tx, schema.messages, sample_data.message(number, now))
        failed = {"state": "dead", "finished_at": now, "attempts": 12, "last_error": f"{REASON} {EVIL}"}
        sample_data.insert(tx, schema.deliveries, sample_data.delivery(number, now, target=LONG, **failed))
    blocked = {"blocked_until": now + 60 * 60 * sample_data.MINUTE, "last_success_at": now}
    sample_data.insert(tx, schema.targets, {"name": "slow"} | blocked)
    sample_data.insert(tx, schema.targets, {"name": LONG, "failing_since": now, "last_error": REASON})
    error = orjson.dumps({"code": "not_found", "message": f"PagerDuty has no incident {EVIL}", "status": 404}).decode()
    failed = {"operation": "AcknowledgeIncident", "state": "failed", "finished_at": now, "error": error}
    sample_data.insert(tx, schema.actions, sample_data.action(30, now, id="act_4f8f4f0e0a9f8d1c2b2fbf6a", **failed))
    counts = {"total": 3, "taken": 3, "delivered": 1, "dead": 2, "positions": "{}", "last": 0}
    replay = {"since": now, "until": now, "trigger": LONG, "target": LONG, "state": "finished", "created_at": now}
    sample_data.insert(tx, schema.replays, replay | counts | {"finished_at": now})


@pytest.fixture
def on_terminal(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> OnTerminal:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def call(width: int, *arguments: str) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        parent, child = pty.openpty()
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.append(_read(parent)))
        reader.start()
        with open(child, "w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):  # noqa: PTH123 - a descriptor
            with contextlib.suppress(typer.Exit):
                app(["--config", str(configuration), *arguments], standalone_mode=False)
        reader.join()
        os.close(parent)
        return seen[0].replace("\r\n", "\n")

    return call


def _read(descriptor: int) -> str:
    content = b""
    with contextlib.suppress(OSError):  # a terminal whose other end is closed
        while part := os.read(descriptor, 65536):
            content += part
    return content.decode()


def lines_of(output: str) -> list[str]:
    return Text.from_ansi(output).plain.splitlines()


@pytest.mark.parametrize("command", LISTS)
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut_off(on_terminal: OnTerminal, command: str) -> None:
    for width in WIDTHS:
        lines = lines_of(on_terminal(width, *command.split()))
        assert len(lines) > 1
        assert [line for line in lines if Text(line).cell_len > width] == [], width
        assert "…" not in "\n".join(lines).replace("/…", "").replace("=…", ""), width


@pytest.mark.parametrize("command", LISTS)
def test_no_list_contains_control_characters_or_obeys_markup(on_terminal: OnTerminal, command: str) -> None:
    output = on_terminal(200, *command.split())
    text = Text.from_ansi(output).plain
    assert [each for each in text if not each.isprintable() and each != "\n"] == []
    assert ("[bold red]markup[/]" in " ".join(text.split())) is ("evil" in text)
    assert ":smile:" in text or "smile" not in text


def test_events_have_a_header_and_show_note_agent_and_to_whom_an_incident_was_assigned(on_terminal: OnTerminal) -> None:
    for width in WIDTHS:
        lines = lines_of(on_terminal(width, "events"))
        assert lines[0].split()[:4] == ["Time", "Type", "Incident", "Connection"]
        text = " ".join(" ".join(lines).split())
        assert f"{FIRES} → Bob Brown, Κώστας (Alice Archer)" in text
        assert '"Space is back. ' in text
        starts = {line.index("Q1H0Q9CIVNR7G8") for line in lines if "Q1H0Q9CIVNR7G8" in line}
        assert len(starts) == 1


def test_a_narrow_terminal_shows_when_and_why_an_action_failed(on_terminal: OnTerminal) -> None:
    text = " ".join(" ".join(lines_of(on_terminal(80, "actions", "list"))).split())
    assert "4 min ago" in text
    assert "Result: not_found: PagerDuty has no incident P2" in text


def test_targets_are_listed_with_their_url_and_the_reason_of_a_pause(on_terminal: OnTerminal) -> None:
    for width in WIDTHS:
        text = " ".join(" ".join(lines_of(on_terminal(width, "targets", "list"))).split())
        assert "http://127.0.0.1:8080/…" in text
        assert "at the target's request (resume: pagerelay targets resume slow)" in text


@pytest.mark.parametrize("command", ["events", "deliveries list", "actions list", "status"])
def test_json_on_a_terminal_is_the_same_document_without_control_characters(
    on_terminal: OnTerminal, configuration: Path, command: str
) -> None:
    output = on_terminal(80, *command.split(), "--json")
    assert [each for each in output if not each.isprintable() and each != "\n"] == []
    piped = invoke("--config", str(configuration), *command.split(), "--json").stdout
    assert ("\u202e" in piped) is ("\\u202e" in output)
    if command != "status":  # has ages
        assert json.loads(output) == json.loads(piped)


def test_in_a_pipe_each_row_is_one_line_without_a_header_for_events(configuration: Path) -> None:
    lines = invoke("--config", str(configuration), "events").stdout.splitlines()
    assert len(lines) == 8
    assert [line.split()[3] for line in lines[-3:]] == ["Q1H0Q9CIVNR7G8"] * 3
    rows = invoke("--config", str(configuration), "deliveries", "list").stdout.splitlines()
    assert len(rows) == 9


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("events", "--incident", "P1", "--type", "resolved"), "nothing matches --incident P1 --type resolved"),
        (("events", "--after", "4000"), "nothing matches --after 4000"),
        (
            ("actions", "list", "--state", "running", "--connection", "beta"),
            "nothing matches --state running --connection beta",
        ),
        (
            ("deliveries", "list", "--trigger", "done", "--state", "dead"),
            "nothing matches --trigger done --state dead (a new ",
        ),
    ],
)
def test_an_empty_list_names_the_filters_that_nothing_matches(
    configuration: Path, arguments: tuple[str, ...], reason: str
) -> None:
    result = invoke("--config", str(configuration), *arguments)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].startswith(reason)


@pytest.fixture
def empty(tmp_path: Path, sqlite_template: Path) -> tuple[Path, Database]:
    url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'empty.db')}"
    return sample_data.settings(tmp_path, url).source, Database(url)


def test_an_empty_list_says_what_would_be_in_it(empty: tuple[Path, Database]) -> None:
    path, database = empty

    def reasons(*arguments: str) -> list[str]:
        return invoke("--config", str(path), *arguments).stderr.splitlines()

    unpolled = [
        f"connection {name} has not been polled yet: polling requires a running daemon (see: pagerelay status)"
        for name in ("acme", "beta")
    ]
    assert reasons("events") == ["no events", *unpolled]
    assert reasons("deliveries", "list") == unpolled
    assert reasons("actions", "list") == [
        "none was requested within the retention period (request one: pagerelay action --list)"
    ]
    assert reasons("replays", "list") == [
        "none was requested within the retention period (request one: pagerelay replay --since 2h)"
    ]
    now = system_clock()
    database.write_now(
        sample_data.insert, schema.connections, sample_data.connection("acme", now), sample_data.connection("beta", now)
    )
    baseline = (
        "nothing has happened in connection acme since its first poll 1 h ago, which stored a baseline and sent nothing"
    )
    assert reasons("events")[1] == baseline
    database.write_now(sample_data.insert, schema.events, sample_data.event(1, now))
    assert reasons("deliveries", "list") == [
        "no event has matched a trigger yet: a new trigger sends only events from now on, unless start is set"
    ]
    database.close()
