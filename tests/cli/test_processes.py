"""The command line as real processes: what it imports, signals, pipes, and the daemon itself."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.cli import events
from daemon.storage import schema
from daemon.storage.database import Database, system_clock
from daemon.views import action_list, event_list
from tests.cli import forked
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0
SLOW = {"sqlalchemy", "fastapi", "alembic", "httpx", "uvicorn", "prometheus_client", "apscheduler"}


@pytest.fixture
def configuration(tmp_path: Path, sqlite_template: Path) -> Path:
    url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'pagerelay.db')}"
    database = Database(url)
    database.write_now(sample_data.fill, system_clock())
    database.close()
    return sample_data.settings(tmp_path, url).source


def pagerelay(*arguments: str, anew: bool = False) -> list[str]:
    """Return a command line, of a forked process unless ``anew``."""
    return [*([sys.executable, "-m", "daemon"] if anew else [forked.pagerelay()]), *arguments]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``pagerelay``; whatever still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, anew: bool = False) -> subprocess.Popen[str]:
        command = pagerelay(*arguments, anew=anew)
        process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("command", ["--help", "check"])
def test_quick_commands_import_no_slow_modules(configuration: Path, command: str) -> None:
    script = f"""
import atexit, sys
atexit.register(lambda: print(*sorted({{*sys.modules}} & {SLOW!r}), file=sys.stderr))
sys.argv = ["pagerelay", "-c", {str(configuration)!r}, {command!r}]
from daemon.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "\n")


@pytest.mark.parametrize(
    ("arguments", "anew"),
    [(("events", "--json"), True), (("events",), False), (("status",), False), (("check",), False)],
)
def test_a_closed_output_pipe_is_not_an_error(configuration: Path, arguments: tuple[str, ...], *, anew: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = pagerelay("-c", str(configuration), *arguments, anew=anew)
    env = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_events_follow_prints_new_events_until_interrupted(
    configuration: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("-c", str(configuration), "events", "--follow", "--json", "--limit", "1")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["id"] == "evt_5"
    database = Database(f"sqlite:///{configuration.with_name('pagerelay.db')}")
    database.write_now(
        sample_data.insert, schema.events, sample_data.event(7, system_clock()), sample_data.event(9, system_clock())
    )
    assert [json.loads(process.stdout.readline())["id"] for _ in range(2)] == ["evt_7", "evt_9"]
    database.close()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, error) == (130, "", "")


def test_events_recorded_while_the_first_are_printed_are_printed_too(
    tmp_path: Path, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{configuration.with_name('pagerelay.db')}"
    database = Database(url)
    printed: list[str] = []

    def line(item: event_list.EventItem) -> None:
        printed.append(item.id)
        if len(printed) == 1:
            database.write_now(sample_data.insert, schema.events, sample_data.event(7, system_clock()))

    def waited(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("daemon.cli.terminal.line", line)
    monkeypatch.setattr("daemon.cli.events.time.sleep", waited)
    nothing = dict.fromkeys(("connection", "incident", "type"))
    with pytest.raises(KeyboardInterrupt):
        events.show(sample_data.settings(tmp_path, url), nothing, limit=1, after=None, follow=True, json=True)
    database.close()
    assert printed == ["evt_5", "evt_7"]


def test_an_interrupted_wait_says_that_the_action_continues(
    configuration: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    database = Database(f"sqlite:///{configuration.with_name('pagerelay.db')}")
    database.write_now(lambda tx: tx.execute(schema.instances.delete()) and None)
    call = ("action", "GetUser", "userId=PALICE", "--connection", "acme", "--wait", "60")
    process = start("-c", str(configuration), *call)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("queued; no daemon is running")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=PATIENCE)
    item = database.read_now(action_list.read, last=True, limit=1).items[0]
    database.close()
    assert item.parameters == {"userId": "PALICE"}
    message = f"{item.id} continues (see: pagerelay actions show {item.id})\n"
    assert (process.returncode, out, error) == (130, "", message)


def test_a_secret_is_prompted_for_on_a_terminal_and_not_echoed(configuration: Path) -> None:
    parent, child = pty.openpty()
    call = ("action", "CreateIncident", "service_key=-", "description=full", "--connection", "acme")
    command = pagerelay("-c", str(configuration), *call, anew=True)
    process = subprocess.Popen(command, cwd=ROOT, stdin=child, stdout=child, stderr=child, start_new_session=True)
    os.close(child)
    seen = b""
    while not seen.endswith(b"service_key: "):
        seen += os.read(parent, 1024)
    os.write(parent, b"a-key-of-mine\n")
    while b"CreateIncident: queued" not in seen:
        seen += os.read(parent, 1024)
    assert process.wait(PATIENCE) == 0
    os.close(parent)
    assert b"a-key-of-mine" not in seen
    database = Database(f"sqlite:///{configuration.with_name('pagerelay.db')}")
    parameters = database.read_now(lambda tx: tx.execute(schema.actions.select()).all())[-1].parameters
    database.close()
    assert json.loads(parameters)["service_key"] == "a-key-of-mine"


def test_a_terminal_gets_colours_unless_they_are_disabled(configuration: Path) -> None:
    def seen(**environment: str) -> str:
        parent, child = pty.openpty()
        command = pagerelay("-c", str(configuration), "status")
        env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        env |= {"TERM": "xterm-256color", "COLUMNS": "80"} | environment
        subprocess.run(command, cwd=ROOT, env=env, stdout=child, stderr=child, check=True)
        os.close(child)
        text = os.read(parent, 1 << 20).decode()
        os.close(parent)
        return text

    assert "\x1b[1;31mfailing" in seen()
    without = seen(NO_COLOR="1")
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", without)
    assert "\ufffd[31m" in without  # what a receiver responded is inert


def test_the_daemon_runs_until_sigterm_and_is_seen_by_status(
    configuration: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    daemon = start("-c", str(configuration), "run", anew=True)
    assert daemon.stderr is not None
    first = json.loads(daemon.stderr.readline())
    while first["event"] != "daemon.started":
        first = json.loads(daemon.stderr.readline())
    assert first["api"].startswith("http://127.0.0.1:")

    second = start("-c", str(configuration), "run")
    _, refused = second.communicate(timeout=PATIENCE)
    assert second.returncode == 1
    assert "in use by another pagerelay daemon" in refused
    assert len(refused.splitlines()) == 1

    status, _ = start("-c", str(configuration), "status", "--json").communicate(timeout=PATIENCE)
    assert len(json.loads(status)["instances"]) == 1

    started = time.monotonic()
    daemon.terminate()
    _, rest = daemon.communicate(timeout=PATIENCE)
    assert daemon.returncode == 0
    assert time.monotonic() - started < 25, "less than the grace that attempts would get"
    assert json.loads(rest.splitlines()[-1])["event"] == "daemon.stopped"
    assert [each for each in sample_data.CANARIES if each in rest] == []
