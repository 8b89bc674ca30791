"""A command whose configuration differs from the running daemon's says so, on one line of stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import daemon
from daemon import config
from daemon.settings import fingerprint
from daemon.storage import schema
from daemon.storage.database import Database, system_clock
from tests.harness import sample_data

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Call

COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("replay", "--since", "2h", "--no-wait"),
    ("deliveries", "redeliver", "1"),
    ("action", "GetUser", "userId=PALICE", "--connection", "acme"),
    ("targets", "test", "ops"),
)


def run_with(url: str, config_hash: str | None, version: str = daemon.__version__) -> None:
    """Let the only daemon be one with that hash."""
    database = Database(url)
    values = {"config_hash": config_hash, "version": version, "heartbeat_at": system_clock(), "hostname": "relay1"}
    database.write_now(lambda tx: tx.execute(schema.instances.update().values(values)) and None)
    database.close()


@pytest.fixture
def local(configuration: Path) -> Path:
    """Return the configuration with a target to which a sample can be sent at once, in vain."""
    text = configuration.read_text().replace("https://ops.example.com:8443/in", "http://127.0.0.1:1/in")
    configuration.write_text(text)
    return configuration


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_that_acts_warns_of_another_configuration_in_one_line(
    pagerelay: Call, local: Path, filled: str, command: tuple[str, ...]
) -> None:
    run_with(filled, "0" * 64)
    result = pagerelay(*command)
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    advice = "restart it if the files are newer, else use its files and environment variables"
    assert warnings == [f"warning: {local}: the daemon on relay1 runs with a different configuration ({advice})"]
    assert warnings[0] not in result.stdout
    if "--json" in command:
        assert json.loads(result.stdout)["instances"][0]["config_hash"] == "0" * 64


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_with_the_same_configuration_warns_of_nothing(
    pagerelay: Call, local: Path, filled: str, command: tuple[str, ...]
) -> None:
    run_with(filled, fingerprint(config.load(local, {})))
    assert "warning" not in pagerelay(*command).stderr


def test_the_warning_names_the_file_of_variables(pagerelay: Call, local: Path, filled: str) -> None:
    run_with(filled, fingerprint(config.load(local, {})))
    variables = local.with_name("pagerelay.env")
    variables.touch(0o600)
    assert pagerelay("status").stderr == ""
    variables.write_text("PAGERELAY_TARGETS__OPS__SECRET=whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n")
    assert pagerelay("status").stderr.startswith(f"warning: {local} with {variables}: the daemon on relay1 runs with")


@pytest.mark.parametrize(("config_hash", "version"), [(None, daemon.__version__), ("0" * 64, "0.0.9")])
def test_a_daemon_of_another_version_is_not_compared(
    pagerelay: Call, local: Path, filled: str, config_hash: str | None, version: str
) -> None:
    del local
    run_with(filled, config_hash, version)
    assert pagerelay("status").stderr == ""


def test_a_silent_daemon_is_not_compared(pagerelay: Call, filled: str) -> None:
    database = Database(filled)
    silent = {"heartbeat_at": system_clock() - sample_data.MINUTE, "config_hash": "0" * 64}
    database.write_now(lambda tx: tx.execute(schema.instances.update().values(silent)) and None)
    database.close()
    assert pagerelay("status").stderr == ""


def test_samples_are_sent_without_a_database(local: Path, pagerelay: Call) -> None:
    text = local.read_text()
    local.write_text(text.replace(text.split('url: "')[1].split('"')[0], f"sqlite:///{local.parent}/none.db", 1))
    result = pagerelay("targets", "test", "ops")
    assert (result.exit_code, result.stderr) == (1, "")
    assert "action.succeeded" not in result.stderr
    assert not (local.parent / "none.db").exists()
