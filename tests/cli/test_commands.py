"""The commands that need no database, and what all commands have in common: errors, exit codes, options."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

import daemon
from daemon import errors
from daemon.cli import COMMANDS, run
from tests.cli.conftest import invoke
from tests.harness import sample_data

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """On SQLite, with no database file yet."""
    return sample_data.settings(tmp_path, f"sqlite:///{tmp_path / 'none.db'}").source


def test_check_prints_ok_and_the_counts(configuration: Path) -> None:
    result = invoke("check", "--config", str(configuration))
    assert result.stdout == f"{configuration}: ok (2 connections, 2 targets, 2 triggers)\n"
    assert (result.exit_code, result.stderr) == (0, "")


def test_check_uses_the_singular_for_one(configuration: Path) -> None:
    lines = [line for line in configuration.read_text().splitlines() if "done:" not in line]
    configuration.write_text("\n".join(lines))
    assert "1 trigger)" in invoke("check", "-c", str(configuration)).stdout


def test_check_prints_one_line_for_each_mistake_and_exits_with_2(configuration: Path) -> None:
    configuration.write_text(
        configuration.read_text().replace("[chat]", "[chta]").replace("connection: acme", "connection: acne")
    )
    result = invoke("check", "-c", str(configuration))
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 2
    assert any('"chta"' in line and '(did you mean "chat"?)' in line for line in result.stderr.splitlines())
    assert [each for each in sample_data.CANARIES if each in result.output] == []


def test_the_configuration_may_be_named_before_and_after_the_command(configuration: Path) -> None:
    for arguments in (
        ("--config", str(configuration), "check"),
        ("-c", str(configuration), "check"),
        ("check", "-c", str(configuration)),
        ("-c", "/nowhere.yaml", "check", "-c", str(configuration)),
    ):
        assert invoke(*arguments).exit_code == 0, arguments
    assert invoke("check", PAGERELAY_CONFIG=str(configuration)).exit_code == 0


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    result = invoke("run", "-c", str(tmp_path / "nowhere.yaml"))
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("events",),
        ("deliveries", "list"),
        ("deliveries", "show", "1"),
        ("actions", "list"),
        ("action", "GetUser", "userId=P1", "--connection", "acme"),
        ("users", "--connection", "acme"),
    ],
)
def test_without_a_database_the_error_says_how_to_create_one(configuration: Path, arguments: tuple[str, ...]) -> None:
    result = invoke("-c", str(configuration), *arguments)
    database = configuration.with_name("none.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"the database {database} does not exist yet (start the daemon: pagerelay run)\n"
    assert not database.exists()


def test_db_upgrade_prints_the_old_and_the_new_revision(configuration: Path) -> None:
    first, second = (invoke("-c", str(configuration), "db", "upgrade") for _ in range(2))
    assert first.stdout.startswith("upgraded the database from no schema to schema ")
    assert second.stdout.startswith("the database already has schema ")
    assert first.exit_code == second.exit_code == 0


def test_schema_describes_the_configuration(configuration: Path) -> None:
    schema = json.loads(invoke("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.load(configuration.read_text(), yaml.BaseLoader), schema)


def test_the_version_is_printed() -> None:
    assert invoke("--version").stdout == f"pagerelay {daemon.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("status", "--nonsense"),
        ("db", "x"),
        ("actions", "x"),
    ],
)
def test_a_usage_error_exits_with_2_and_refers_to_the_help(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
    assert " -h' for help." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("deliveries", "redeliver", "99", "abc"), 'ID must be a whole number, not "abc"'),
        (("replays", "show", "1.5"), 'ID must be a whole number, not "1.5"'),
        (("events", "--limit", "0"), '--limit must be at least 1, not "0"'),
        (("events", "--limit", "501"), '--limit must be at most 500, not "501"'),
        (("action", "GetUser", "userId=P1", "--wait", "\x1b"), '--wait must be a number, not "\ufffd"'),
    ],
)
def test_an_invalid_number_is_reported_on_one_line_that_names_it(arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    command = " ".join(arguments[:2] if arguments[0] in {"deliveries", "replays"} else arguments[:1])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"{message} (see: pagerelay {command} --help)\n"


def test_the_help_of_every_command_fits_on_its_line() -> None:
    listed = invoke("--help").stdout
    assert "..." not in listed.partition("Commands:")[2]
    commands = [line.split()[0] for line in listed.partition("Commands:")[2].splitlines() if line]
    assert {"run", "check", "status", "events", "deliveries", "action", "actions", "users", "db"} <= set(commands)
    for command in commands:
        assert f"\n  {command} " in listed
        assert invoke(command, "-h").exit_code == 0


def test_the_table_of_commands_has_the_first_line_of_each_help() -> None:
    for name, (_, summary) in COMMANDS.items():
        assert invoke(name, "--help").stdout.splitlines()[2].strip() == summary


def test_a_known_error_prints_its_message_and_exits_with_1(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_settings: object) -> None:
        raise errors.DatabaseInUse("x.db is in use by another pagerelay daemon")

    monkeypatch.setattr(run, "run_daemon", fail)
    result = invoke("-c", str(configuration), "run")
    assert (result.exit_code, result.stderr) == (1, "x.db is in use by another pagerelay daemon\n")


def test_an_unexpected_error_is_one_line_without_its_message(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_settings: object) -> None:
        raise RuntimeError("canary-password")

    monkeypatch.setattr(run, "run_daemon", fail)
    result = invoke("-c", str(configuration), "run")
    assert result.exit_code == 1
    assert result.stderr.startswith("unexpected RuntimeError at test_commands.py:")
    assert len(result.stderr.splitlines()) == 1
    assert "canary" not in result.output
    shown_in_full = invoke("--traceback", "-c", str(configuration), "run")
    assert "Traceback (most recent call last)" in shown_in_full.stderr
    assert shown_in_full.exit_code == 1
