"""The commands that only read: status, events, deliveries and actions."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.storage import action_queue, schema
from daemon.storage.database import Database, system_clock
from tests.cli.conftest import invoke
from tests.harness import sample_data

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Call


def test_status_shows_failing_parts_first(on_samples: Call) -> None:
    result = on_samples("status")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "! connection beta: failing for 10 min: 401 2006 Authentication failed" in lines
    words = '"Disk \ufffd[31mfull\ufffd[0m on db1 [bold]"'
    assert f"! target ops: failing for 3 min: answered 503: {words} (see: pagerelay deliveries show 3)" in lines
    beta, acme, ops, chat = (
        next(number for number, line in enumerate(lines) if line.startswith(name))
        for name in ("beta failing", "acme ok", "ops failing", "chat ok")
    )
    assert beta < acme < ops < chat
    assert "s ago 26 of 30 in 1 min" in lines[acme]
    assert lines[ops].startswith("ops failing 2 3 min 1 -")
    assert any(line.startswith("new behind incident.triggered ops, chat 2 1 min ago") for line in lines)
    assert "running: relay1 for 3 h" in lines[0]


def test_status_shows_pending_running_and_failed_actions_of_each_connection(on_samples: Call) -> None:
    lines = [" ".join(line.split()) for line in on_samples("status").stdout.splitlines()]
    assert "! connection acme: 1 action queued for 1 min (see: pagerelay actions list)" in lines
    head = lines.index("Actions of Queued Oldest Running Longest Failed in 1 h")
    assert re.fullmatch(r"beta 1 \d+ s 0 - 0", lines[head + 1])
    assert lines[head + 2] == "acme 1 1 min 1 2 min 1"


def test_the_tables_of_status_fit_a_terminal_of_80_columns(on_samples: Call) -> None:
    tables = [line for line in on_samples("status").stdout.splitlines() if not line.startswith("! ")]
    assert max(len(line) for line in tables) <= 80


def test_status_names_the_types_of_log_entries_that_this_version_does_not_know(on_samples: Call) -> None:
    text = " ".join(on_samples("status").stdout.split())
    assert "note: acme: unknown log entry types: teleport_log_entry (3) (please report)" in text
    assert "note: beta" not in text


def test_status_as_json_is_one_document(on_samples: Call) -> None:
    status = json.loads(on_samples("status", "--json").stdout)
    assert [each["health"] for each in status["connections"]] == ["ok", "failing"]
    assert status["targets"][1]["pending"] == 2
    assert status["now"].endswith("Z")


def test_status_says_how_far_a_connection_has_caught_up(pagerelay: Call, filled: str) -> None:
    database = Database(filled)
    now = database.read_now(database.now)
    values = {
        "polled_by": "a",
        "last_success_at": now - timedelta(hours=40),
        "last_poll_at": now - timedelta(minutes=9),
    }
    row = schema.connections.update().values(values | {"watermark": now - timedelta(hours=10)})
    database.write_now(lambda tx: tx.execute(row) and None)
    database.close()
    output = " ".join(pagerelay("status").stdout.split())
    assert "note: acme: catching up: 75% read, 10 h behind, about 3 min left" in output
    assert "acme catching up 9 min ago" in output
    assert "not polled" not in output, "nothing is wrong with it"
    connections = json.loads(pagerelay("status", "--json").stdout)["connections"]
    assert connections[0]["health"] == "behind"


def test_status_says_how_far_a_clock_is_off(pagerelay: Call, filled: str) -> None:
    database = Database(filled)
    database.write_now(lambda tx: tx.execute(schema.instances.update().values(clock_ahead_seconds=-300)) and None)
    database.close()
    line = "! the clock of relay1 is 300 s behind PagerDuty's (set it: receivers reject signatures with a wrong time)"
    assert line in " ".join(pagerelay("status").stdout.split())


def test_status_says_when_no_daemon_runs(pagerelay: Call, filled: str) -> None:
    database = Database(filled)
    database.write_now(lambda tx: tx.execute(schema.instances.delete()) and None)
    database.close()
    result = pagerelay("status")
    assert result.exit_code == 0
    assert "! no daemon is running (start it: pagerelay run)" in result.stdout


def test_status_shows_the_worst_of_many_triggers_and_counts_the_rest(tmp_path: Path, configuration: Path) -> None:
    many = "".join(f"  more-{number}: {{on: incident.resolved, connection: beta, to: [ops]}}\n" for number in range(30))
    configuration.write_text(configuration.read_text() + many)
    few = invoke("-c", str(configuration), "status").stdout
    assert "… and 12 more triggers (--all shows them)" in few
    everything = invoke("-c", str(configuration), "status", "--all").stdout
    assert [name for name in (f"more-{number} " for number in range(30)) if name not in everything] == []


def test_events_are_listed_oldest_first_one_per_line(on_samples: Call) -> None:
    lines = on_samples("events").stdout.splitlines()
    assert [line.split()[3] for line in lines] == ["P1", "P2", "P3", "P4", "P5"]
    assert lines[-1].split()[2] == "resolved"


def test_control_characters_in_events_are_escaped(on_samples: Call) -> None:
    for arguments in (
        ("events",),
        ("deliveries", "list"),
        ("deliveries", "show", "3"),
        ("actions", "list"),
        ("actions", "show", "act_5"),
        ("status",),
    ):
        assert "\x1b" not in on_samples(*arguments).stdout
    assert "Disk \ufffd[31mfull\ufffd[0m on db1 [bold]" in on_samples("deliveries", "show", "3").stdout


def test_events_as_json_can_be_paged_through(on_samples: Call) -> None:
    first = json.loads(on_samples("events", "--json", "--limit", "2", "--after", "0").stdout)
    second = json.loads(on_samples("events", "--json", "--after", first["next"]).stdout)
    assert [each["id"] for each in first["items"] + second["items"]] == [f"evt_{number}" for number in range(1, 6)]
    assert second["next"] is None


def test_without_a_cursor_the_latest_are_shown(on_samples: Call) -> None:
    assert [line.split()[3] for line in on_samples("events", "--limit", "2").stdout.splitlines()] == ["P4", "P5"]
    latest = json.loads(on_samples("deliveries", "list", "--json", "--limit", "1").stdout)
    assert [each["id"] for each in latest["items"]] == [5]


def test_filters_are_passed_on(on_samples: Call) -> None:
    assert len(on_samples("events", "--type", "OnIncidentResolved").stdout.splitlines()) == 1
    assert len(on_samples("events", "--trigger", "new", "--incident", "P2").stdout.splitlines()) == 1
    dead = json.loads(on_samples("deliveries", "list", "--json", "--state", "dead", "--target", "ops").stdout)
    assert [each["id"] for each in dead["items"]] == [2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("events", "--connection", "acne"), 'unknown connection "acne" (did you mean "acme"?)'),
        (
            ("actions", "list", "--operation", "resolve"),
            'unknown operation "resolve" (did you mean "ResolveIncident"?)',
        ),
        (
            ("actions", "list", "--state", "done"),
            'unknown action state "done" (known: queued, running, succeeded, failed)',
        ),
        (
            ("deliveries", "list", "--state", "x"),
            'unknown delivery state "x" (known: pending, retrying, delivered, dead)',
        ),
    ],
)
def test_a_filter_with_an_unknown_name_is_a_usage_error(
    on_samples: Call, arguments: tuple[str, ...], said: str
) -> None:
    result = on_samples(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"{said}\n")


def test_deliveries_are_listed_with_their_states(on_samples: Call) -> None:
    lines = [" ".join(line.split()) for line in on_samples("deliveries", "list").stdout.splitlines()]
    assert lines[0] == "Id State Target Event Incident Attempts When Response"
    assert lines[2:5] == [
        "2 dead ops triggered P2 9 1 min ago answered 500",
        "3 pending ops triggered P3 2 due answered 503",
        "4 pending ops triggered P4 0 now -",
    ]


def test_a_delivery_that_waits_for_its_target_says_so(pagerelay: Call, filled: str) -> None:
    database = Database(filled)
    probe_at = database.read_now(database.now) + timedelta(minutes=9)
    row = schema.targets.update().where(schema.targets.c.name == "ops").values(probe_at=probe_at)
    database.write_now(lambda tx: tx.execute(row) and None)
    database.close()
    line = " ".join(pagerelay("deliveries", "list", "--state", "retrying").stdout.splitlines()[1].split())
    assert line == "3 pending ops triggered P3 2 target failing, in 8 min answered 503"
    assert "its target, which is failing" in pagerelay("deliveries", "show", "3").stdout


def test_one_delivery_is_shown_with_its_attempts(on_samples: Call) -> None:
    result = on_samples("deliveries", "show", "3")
    assert "no response within 15 s" in result.stdout
    assert "evt_3 (incident.triggered)" in result.stdout
    assert len(json.loads(on_samples("deliveries", "show", "3", "--json").stdout)["attempts"]) == 2


def test_an_unknown_delivery_is_an_error(on_samples: Call) -> None:
    result = on_samples("deliveries", "show", "99")
    assert (result.exit_code, result.stderr) == (1, "unknown delivery 99 (it may have been pruned)\n")


def test_actions_are_listed_with_their_results(on_samples: Call) -> None:
    lines = [" ".join(line.split()) for line in on_samples("actions", "list").stdout.splitlines()]
    assert lines[0] == "State Operation Incident Id Created Result"
    assert lines[1:5] == [
        "done ResolveIncident P1 act_1 1 h ago",
        "failed ResolveIncident P2 act_2 4 min ago not_found: PagerDuty has no incident P2",
        "running ResolveIncident P3 act_3 2 min ago",
        "queued ResolveIncident P4 act_4 1 min ago temporary: api answered 503",
    ]
    assert re.fullmatch(r"queued CreateIncident - act_5 \d+ s ago", lines[5])


def test_actions_can_be_filtered_and_paged(on_samples: Call) -> None:
    def ids(*options: str) -> list[str]:
        return [each["id"] for each in json.loads(on_samples("actions", "list", "--json", *options).stdout)["items"]]

    assert ids("--state", "queued") == ["act_4", "act_5"]
    assert ids("--operation", "CreateIncident") == ["act_5"]
    assert ids("--incident", "P2") == ["act_2"]
    assert ids("--connection", "beta") == ["act_5"]
    assert ids("--limit", "2") == ["act_4", "act_5"]
    assert ids("--limit", "2", "--after", "2") == ["act_3", "act_4"]
    assert on_samples("actions", "list", "--incident", "none").stdout == "no actions\n"


def test_one_action_is_shown_in_full(on_samples: Call) -> None:
    shown_now = {line[:14].strip(): line[14:] for line in on_samples("actions", "show", "act_4").stdout.splitlines()}
    assert list(shown_now) == [
        "Action",
        "State",
        "Operation",
        "Connection",
        "Parameters",
        "Created",
        "Started",
        "Attempts",
        "Next attempt",
        "Result",
    ]
    assert (shown_now["State"], shown_now["Attempts"]) == ("queued", "3")
    assert shown_now["Parameters"] == "incidentId=P4 userId=PALICE"
    assert shown_now["Result"].startswith("api answered 503 [temporary]")
    assert json.loads(on_samples("actions", "show", "act_4", "--json").stdout)["error"]["status"] == 503
    assert "Notify        ops\n" in on_samples("actions", "show", "act_1").stdout


def test_an_unknown_action_is_an_error(on_samples: Call) -> None:
    result = on_samples("actions", "show", "act_99")
    assert (result.exit_code, result.stderr) == (1, "unknown action act_99 (it may have been pruned)\n")


def test_colours_are_for_terminals_only(on_samples: Call) -> None:
    assert "\x1b" not in on_samples("status").stdout


def test_no_secret_is_in_any_output(pagerelay: Call, configuration: Path, filled: str) -> None:
    shows = ("status",), ("status", "--json"), ("events", "--json"), ("deliveries", "list", "--json")
    actions = ("actions", "list", "--json"), ("actions", "show", "act_5", "--json"), ("actions", "show", "act_5")
    others = ("deliveries", "show", "3", "--json"), ("check",), ("schema",), ("db", "upgrade"), ("db", "prune")
    for arguments in (*shows, *actions, *others):
        result = pagerelay(*arguments)
        assert result.exit_code == 0, arguments
        assert [each for each in sample_data.CANARIES if each in result.output] == [], arguments


def test_db_prune_removes_old_rows_and_counts_them(pagerelay: Call, filled: str) -> None:
    assert pagerelay("db", "prune").stdout == "0 rows removed\n"
    database = Database(filled)
    long_ago = system_clock() - 60 * 24 * 40 * sample_data.MINUTE
    old = schema.deliveries.update().where(schema.deliveries.c.state == "dead").values(finished_at=long_ago)
    database.write_now(lambda tx: tx.execute(old) and None)
    result = pagerelay("db", "prune")
    assert result.stdout == "1 row removed\n"
    assert result.stderr == "older than their retention: 1 delivery, 0 events, and what belongs to them\n"
    assert database.read_now(lambda tx: tx.execute(schema.deliveries.select()).all()).__len__() == 4
    database.close()


def test_actions_of_a_removed_connection_are_reported_and_can_be_cancelled(pagerelay: Call, filled: str) -> None:
    database = Database(filled)
    database.write_now(lambda tx: tx.execute(schema.actions.delete()) and None)
    new = action_queue.NewAction("ResolveIncident", "gone", {"incidentId": "P1", "userId": "P2"}, "P1", None)
    for _ in range(2):
        database.write_now(action_queue.accept, new, database.read_now(database.now))
    database.close()
    status = " ".join(pagerelay("status").stdout.split())
    assert "! 2 actions wait for the connection gone, which is not configured" in status
    assert "pagerelay actions cancel --connection gone" in status
    assert pagerelay("actions", "cancel", "--connection", "gone").stdout.count("cancelled while it was queued") == 2
    assert "wait for the connection gone" not in pagerelay("status").stdout
    nothing = pagerelay("actions", "cancel", "--connection", "gone")
    assert (nothing.exit_code, nothing.stdout) == (0, "no action of the connection gone is queued\n")
    assert pagerelay("actions", "cancel").exit_code == 2
    assert "unknown action" in pagerelay("actions", "cancel", "act_unknown").stderr
