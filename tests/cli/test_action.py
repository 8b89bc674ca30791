"""The command ``action`` without a running daemon: valid and invalid requests, and what is queued."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from daemon.actions import REGISTRY
from daemon.cli import parameters
from daemon.storage import schema
from daemon.storage.database import Database, system_clock
from tests.cli.conftest import invoke
from tests.harness import sample_data

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from tests.cli.conftest import Call

KEY = "canary-service-key"
ACKNOWLEDGE = ("action", "AcknowledgeIncident", "incidentId=PINC1", "userId=PALICE")
CREATE = ("action", "CreateIncident", "--connection", "acme")


def rows(url: str) -> list[Any]:
    """Return the actions in the database, oldest first."""
    database = Database(url)
    found = database.read_now(lambda tx: tx.execute(sa.select(schema.actions).order_by(schema.actions.c.seq)).all())
    database.close()
    return list(found)


def lines(result: Result) -> list[str]:
    """Exit code 2, nothing on stdout, and these lines on stderr."""
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr.splitlines()


def test_an_action_is_queued_with_a_warning_when_no_daemon_runs(pagerelay: Call, database_url: str) -> None:
    result = pagerelay(*ACKNOWLEDGE, "--connection", "acme", "--notify", "ops", "--notify", "chat", "--notify", "ops")
    (row,) = rows(database_url)
    assert (result.exit_code, result.stdout) == (0, f"AcknowledgeIncident: queued ({row.id})\n")
    assert result.stderr == "queued; no daemon is running to carry it out (start it: pagerelay run)\n"
    assert (row.operation, row.connection, row.state) == ("AcknowledgeIncident", "acme", "queued")
    assert json.loads(row.parameters) == {"incidentId": "PINC1", "userId": "PALICE"}
    assert (row.subject, row.together, json.loads(row.notify)) == ("PINC1", "PALICE", ["ops", "chat"])


def test_nothing_is_printed_on_stderr_when_a_daemon_runs(pagerelay: Call, database_url: str) -> None:
    database = Database(database_url)
    now = system_clock()
    alive = {"id": "a", "hostname": "relay1", "version": "0.1.0", "started_at": now, "heartbeat_at": now}
    database.write_now(sample_data.insert, schema.instances, alive)
    database.close()
    result = pagerelay(*ACKNOWLEDGE, "--connection", "acme")
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(database_url)[-1].id in result.stdout


def test_the_json_output_is_identical_to_that_of_the_api(pagerelay: Call, database_url: str) -> None:
    shown_now = json.loads(pagerelay(*ACKNOWLEDGE, "--connection", "beta", "--json").stdout)
    (row,) = rows(database_url)
    assert json.loads(pagerelay("actions", "show", row.id, "--json").stdout) == shown_now
    assert (shown_now["id"], shown_now["state"], shown_now["connection"]) == (row.id, "queued", "beta")


def test_a_single_connection_is_the_default(tmp_path: Path, configuration: Path, database_url: str) -> None:
    text = "".join(line for line in configuration.read_text().splitlines(keepends=True) if "beta" not in line)
    configuration.write_text(text)
    assert invoke("-c", str(configuration), *ACKNOWLEDGE).exit_code == 0
    assert [row.connection for row in rows(database_url)] == ["acme"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("AcknowlegdeIncident",), ['unknown operation "AcknowlegdeIncident" (did you mean "AcknowledgeIncident"?)']),
        (("ack",), ['unknown operation "ack" (did you mean "AcknowledgeIncident"?)']),
        (("zzz",), ['unknown operation "zzz" (pagerelay action --list shows them)']),
        ((), ["an operation is required (pagerelay action --list shows them)"]),
        (
            ("GetUser",),
            ["GetUser: userId is required", "usage: pagerelay action GetUser userId=…"],
        ),
        (
            ("SnoozeIncident", "incidentId=P1", "userId=P2", "duration=8d", "until=x"),
            [
                (
                    "SnoozeIncident: duration must be a whole number from 1 to 604800; "
                    "until is not a parameter (known: incidentId, userId, duration)"
                ),
                "usage: pagerelay action SnoozeIncident incidentId=… userId=… duration=…",
            ],
        ),
        (
            ("GetUser", "userId=P1", "userId=P2", "PALICE", "=x"),
            [
                "GetUser: userId is set twice (remove one); argument 3 must be key=value; argument 4 must be key=value",
                "usage: pagerelay action GetUser userId=…",
            ],
        ),
    ],
)
def test_a_usage_error_says_what_is_expected_and_queues_nothing(
    pagerelay: Call, database_url: str, arguments: tuple[str, ...], message: list[str]
) -> None:
    assert lines(pagerelay("action", *arguments, "--connection", "acme")) == message
    assert rows(database_url) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "there are several connections: name one with --connection (acme, beta)"),
        (("--connection", "acne"), 'unknown connection "acne" (did you mean "acme"?)'),
        (("--connection", "acme", "--notify", "opps"), 'unknown target "opps" (did you mean "ops"?)'),
        (("--connection", "acme", "--notify", "xyz"), 'unknown target "xyz" (known: chat, ops)'),
    ],
)
def test_unknown_names_are_usage_errors(
    pagerelay: Call, database_url: str, options: tuple[str, ...], message: str
) -> None:
    assert lines(pagerelay(*ACKNOWLEDGE, *options)) == [message]
    assert rows(database_url) == []


def test_a_target_whose_format_does_not_support_actions_is_a_usage_error(
    pagerelay: Call, configuration: Path, database_url: str
) -> None:
    configuration.write_text(configuration.read_text().replace("  chat: {", "  chat: {format: connector, "))
    message = "the target chat uses format connector, which has no payload for action results (use another target)"
    assert lines(pagerelay(*ACKNOWLEDGE, "--connection", "acme", "--notify", "chat")) == [message]
    assert rows(database_url) == []


def test_the_outcome_goes_to_the_configured_targets_unless_others_are_named(
    pagerelay: Call, configuration: Path, database_url: str
) -> None:
    configuration.write_text(configuration.read_text() + "actions: {notify: [chat]}\n")
    pagerelay(*ACKNOWLEDGE, "--connection", "acme")
    pagerelay(*ACKNOWLEDGE, "--connection", "acme", "--notify", "ops")
    assert [json.loads(row.notify) for row in rows(database_url)] == [["chat"], ["ops"]]


@pytest.mark.parametrize("wait", ["-1", "3601", "soon"])
def test_a_wait_out_of_range_is_a_usage_error(pagerelay: Call, database_url: str, wait: str) -> None:
    assert pagerelay(*ACKNOWLEDGE, "--connection", "acme", "--wait", wait).exit_code == 2
    assert rows(database_url) == []


def test_a_wait_that_times_out_says_that_the_action_continues_and_exits_with_1(
    pagerelay: Call, database_url: str
) -> None:
    started = time.monotonic()
    result = pagerelay(*ACKNOWLEDGE, "--connection", "acme", "--wait", "0.3")
    assert time.monotonic() - started >= 0.3
    (row,) = rows(database_url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        f"AcknowledgeIncident: queued ({row.id}): not finished within 0.3 s; "
        f"it continues (see: pagerelay actions show {row.id})"
    )
    assert row.state == "queued"


def test_the_same_key_and_request_return_the_same_action(pagerelay: Call, database_url: str) -> None:
    keyed = ("--connection", "acme", "--idempotency-key", "page-1")
    first, second = (json.loads(pagerelay(*ACKNOWLEDGE, *keyed, "--json").stdout) for _ in range(2))
    assert first["id"] == second["id"]
    other = pagerelay("action", "ResolveIncident", "incidentId=PINC1", "userId=PALICE", *keyed)
    assert (other.exit_code, other.stdout) == (1, "")
    assert "Idempotency-Key was already used" in other.stderr
    assert len(rows(database_url)) == 1


@pytest.mark.parametrize("key", ["", "two words", "ü", "x" * 256])
def test_a_key_that_the_api_would_reject_is_a_usage_error(pagerelay: Call, database_url: str, key: str) -> None:
    (message,) = lines(pagerelay(*ACKNOWLEDGE, "--connection", "acme", "--idempotency-key", key))
    assert message == "--idempotency-key must be 1 to 255 printable ASCII characters without spaces"
    assert rows(database_url) == []


def test_without_a_key_the_same_request_creates_another_action(pagerelay: Call, database_url: str) -> None:
    for _ in range(2):
        assert pagerelay(*ACKNOWLEDGE, "--connection", "acme").exit_code == 0
    assert len({row.id for row in rows(database_url)}) == 2


def test_the_outcome_of_an_earlier_action_with_the_same_key_is_printed(pagerelay: Call, database_url: str) -> None:
    keyed = (*ACKNOWLEDGE, "--connection", "acme", "--idempotency-key", "page-1")
    pagerelay(*keyed)
    problem = {"code": "user_not_found", "message": "PagerDuty has no user PALICE"}
    database = Database(database_url)
    ended = schema.actions.update().values(state="failed", error=json.dumps(problem))
    database.write_now(lambda tx: tx.execute(ended) and None)
    database.close()
    result = pagerelay(*keyed)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "AcknowledgeIncident: failed: PagerDuty has no user PALICE [user_not_found]: "
        "use one of the users listed by `pagerelay users`\n"
    )


# --- values that do not stand in the process list


def stored(pagerelay: Call, url: str, *arguments: str, stdin: str | bytes | None = None) -> Any:
    """Return the parameters that such a call queues."""
    result = pagerelay(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    assert KEY not in result.output
    return json.loads(rows(url)[-1].parameters)


def test_a_value_can_be_read_from_a_file_or_from_standard_input(
    pagerelay: Call, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    from_file = stored(pagerelay, database_url, *CREATE, f"service_key=@{file}", "description=a = b")
    assert from_file == {"service_key": KEY, "description": "a = b"}
    piped = stored(pagerelay, database_url, *CREATE, "service_key=-", "description=full", stdin=KEY + "\r\n")
    assert piped == {"service_key": KEY, "description": "full"}
    text = "first line\n\nlast – ünd\n"
    note = ("action", "AddNoteToIncident", "--connection", "acme", "incidentId=P1", "userId=P2")
    assert stored(pagerelay, database_url, *note, "note=-", stdin=text.encode())["note"] == text.removesuffix("\n")
    assert stored(pagerelay, database_url, *note, "note=@@alice: look")["note"] == "@alice: look"
    assert stored(pagerelay, database_url, *note, "note=--urgent")["note"] == "--urgent"


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (
            ("service_key=@/nowhere/key", "description=x"),
            b"",
            "service_key cannot be read: No such file or directory (write a text that begins with @ as @@)",
        ),
        (("service_key=@/tmp", "description=x"), b"", "service_key cannot be read: Is a directory"),
        (
            ("service_key=-", "description=-"),
            b"x",
            "description cannot be read from standard input, like service_key (use a file: @path)",
        ),
        (("service_key=-", "description=x"), b"\xff\xfe", "service_key cannot be read: standard input is not UTF-8"),
        (
            ("service_key=-", "description=x"),
            b"x" * (parameters.LARGEST + 1),
            f"service_key cannot be read: standard input is larger than {parameters.LARGEST} bytes",
        ),
        (("service_key=-", "description=x"), b"", "service_key must not be empty"),
    ],
)
def test_an_unreadable_value_is_a_usage_error(
    pagerelay: Call, database_url: str, arguments: tuple[str, ...], stdin: bytes, message: str
) -> None:
    first, usage = lines(pagerelay(*CREATE, *arguments, stdin=stdin))
    assert first.startswith(f"CreateIncident: {message}")
    assert usage == "usage: pagerelay action CreateIncident service_key=… description=…"
    assert rows(database_url) == []


def test_an_endless_file_is_not_read_completely(pagerelay: Call) -> None:
    (first, _) = lines(pagerelay(*CREATE, "service_key=@/dev/zero", "description=x"))
    assert "is larger than" in first


def test_a_secret_is_in_no_output(pagerelay: Call, database_url: str) -> None:
    calls = [
        pagerelay(*CREATE, f"service_key={KEY}", "description=full", *options)
        for options in ((), ("--json",), ("--wait", "0.1"), ("--wait", "0.1", "--json"), ("--notify", "nobody"))
    ]
    calls += [pagerelay(*CREATE, f"service_key={KEY} {KEY}", "description=full"), pagerelay(*CREATE, KEY)]
    calls += [pagerelay("actions", "list", *options) for options in ((), ("--json",))]
    calls += [
        pagerelay("actions", "show", row.id, *options) for row in rows(database_url) for options in ((), ("--json",))
    ]
    assert [each.output for each in calls if KEY in each.output] == []
    assert [each for each in sample_data.CANARIES if any(each in call.output for call in calls)] == []
    assert "service_key=***" in calls[-2].stdout


# --- what there is to do


def test_the_list_of_operations_matches_the_registry(pagerelay: Call) -> None:
    listed = pagerelay("action", "--list")
    table = [" ".join(line.split()) for line in listed.stdout.splitlines()]
    for each in REGISTRY.values():
        assert f"{each.name} {' '.join(each.parameters.model_fields)} {each.result} {each.help}" in table
    documents = json.loads(pagerelay("action", "--list", "--json").stdout)
    assert [each["operation"] for each in documents] == list(REGISTRY)
    secret = [
        (each["operation"], parameter["name"])
        for each in documents
        for parameter in each["parameters"]
        if parameter["secret"]
    ]
    assert secret == [("CreateIncident", "service_key")]


def test_the_list_of_operations_needs_no_configuration() -> None:
    assert invoke("-c", "/nowhere.yaml", "action", "--list").exit_code == 0
