"""Commands that act on PagerDuty or read from it, with a running daemon: through its API, and without."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon.storage import schema
from daemon.storage.database import Database
from tests.cli import running_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Call
    from tests.cli.running_daemon import System
    from tests.conftest import Postgres


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new()
    else:
        template: Path = request.getfixturevalue("sqlite_template")
        url = f"sqlite:///{shutil.copy(template, folder / 'pagerelay.db')}"
    with running_daemon.system(folder, url) as world:
        yield world


@pytest.fixture(params=["api", "direct"])
def pagerelay(request: pytest.FixtureRequest, system: System) -> Call:
    call: Call = getattr(system, request.param)
    return call


def user_of(system: System, name: str) -> str:
    """Return the id of one of the account's users."""
    return str(json.loads(system.direct("users", name, "--json").stdout)["users"][0]["id"])


def policy_of(system: System, name: str) -> str:
    """Return the id of one of the account's escalation policies."""
    return str(json.loads(system.direct("policies", name, "--json").stdout)["escalation_policies"][0]["id"])


def test_every_operation_is_carried_out_and_reported_on_one_line(system: System, pagerelay: Call) -> None:
    alice, bob = user_of(system, "alice"), user_of(system, "bob")
    policy = policy_of(system, "follow")
    key = uuid.uuid4().hex
    incident = system.trigger("Disk full on db1", key=key)
    about = (f"incidentId={incident}", f"userId={alice}")
    now = f"{incident} is acknowledged, assigned to \\w+: \\[#\\d+\\] Disk full on db1"
    for arguments, said in (
        (("AcknowledgeIncident", *about), f"done: {now}"),
        (("AddNoteToIncident", *about, "note=on it"), f"done: note \\w+ on {incident}"),
        (("SnoozeIncident", *about, "duration=3600"), f"done: {now}"),
        (("ReassignIncident", *about, f"reassignUserId={bob}"), f"done: {incident} is \\w+, assigned to {bob}: .*"),
        (("EscalateIncident", *about, f"policyId={policy}"), f"done: {incident} is .*"),
        (("GetIncidentByKey", f"incident_key={key}"), f"done: {incident} is .*"),
        (("GetUser", f"userId={alice}"), f"done: {alice} is Alice Archer <alice@example.com>"),
        (("ResolveIncident", *about), f"done: {incident} is resolved: \\[#\\d+\\] Disk full on db1"),
        (("ResolveIncident", *about), f"already done before: {incident} is resolved: .*"),
        (("AcknowledgeIncident", *about), f"too late: {incident} is resolved: .*"),
    ):
        result = pagerelay("action", *arguments, "--wait", "30")
        assert (result.exit_code, result.stderr) == (0, ""), arguments
        assert re.fullmatch(f"{arguments[0]}: {said}\n", result.stdout), result.stdout


def test_a_failure_is_reported_on_one_line_and_exits_with_1(system: System, pagerelay: Call) -> None:
    alice = user_of(system, "alice")
    incident = system.trigger("Not acknowledged")
    call = ("action", "SnoozeIncident", f"incidentId={incident}", f"userId={alice}", "duration=60", "--wait", "30")
    result = pagerelay(*call)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(
        r"SnoozeIncident: failed: .* answered .* \[not_acknowledged\]: acknowledge the incident first\n", result.stderr
    )
    as_json = pagerelay(*call, "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["error"]["code"] == "not_acknowledged"


def test_output_is_the_same_with_and_without_the_api(system: System) -> None:
    alice = user_of(system, "alice")
    call = ("action", "GetUser", f"userId={alice}", "--wait", "30", "--json")
    through, direct = (json.loads(each(*call).stdout) for each in (system.api, system.direct))
    assert through.keys() == direct.keys()
    assert through["result"] == direct["result"]
    for kind in ("incidents", "users", "policies"):
        assert system.api(kind, "--json").stdout == system.direct(kind, "--json").stdout
        assert system.api(kind).stdout == system.direct(kind).stdout


def test_the_pick_lists_show_the_ids_that_actions_need(system: System, pagerelay: Call) -> None:
    word = uuid.uuid4().hex
    incident = system.trigger(f"Rare word: {word}", urgency="low")
    head, line = (" ".join(each.split()) for each in pagerelay("incidents", word.upper()).stdout.splitlines())
    assert head == "Id Status Urgency Assigned to Summary"
    assert re.fullmatch(rf"{incident} triggered low \w+ \w+.* \[#\d+\] Rare word: {word}", line)
    assert pagerelay("users", "bob").stdout.split() == [
        "Id",
        "Name",
        "E-mail",
        user_of(system, "bob"),
        "Bob",
        "Brandt",
        "bob@example.com",
    ]
    assert len(pagerelay("users").stdout.splitlines()) == 6
    assert pagerelay("policies", "infra").stdout.split() == ["Id", "Name", policy_of(system, "infra"), "Infrastructure"]
    assert pagerelay("users", "nobody at all").stdout == "no matching users\n"
    assert pagerelay("policies", "nothing").stdout == "no matching escalation policies\n"


def test_no_secret_is_in_any_output(system: System, pagerelay: Call) -> None:
    calls = [pagerelay(*each) for each in (("users",), ("users", "--json"), ("incidents", "--json"))]
    for secret in (running_daemon.TOKEN, running_daemon.KEY):
        assert [each.output for each in calls if secret in each.output] == []


def actions_in(system: System) -> int:
    """Return how many actions the database has."""
    database = Database(system.database)
    count = sa.select(sa.func.count()).select_from(schema.actions)
    found = int(database.read_now(lambda tx: tx.execute(count).scalar_one()))
    database.close()
    return found


def test_a_lost_response_does_not_create_a_second_action(system: System) -> None:
    """The daemon gets the request, and its answer is lost: then the same request goes into the database."""
    alice = user_of(system, "alice")
    before = actions_in(system)
    with running_daemon.losing_answers(system.address) as (lossy, taken):
        result = system.configured(lossy)("action", "GetUser", f"userId={alice}", "--wait", "30")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Alice Archer" in result.stdout
    assert taken == [202]
    assert actions_in(system) == before + 1


def test_a_daemon_that_refuses_the_token_is_named_and_the_database_is_used(system: System) -> None:
    alice = user_of(system, "alice")
    pagerelay = system.configured(system.address.removeprefix("http://"), token="another-token")
    result = pagerelay("action", "GetUser", f"userId={alice}", "--wait", "30")
    assert result.exit_code == 0
    said = f"{system.address} does not accept the configured api.token (restart the daemon there)\n"
    refused, warning = result.stderr.splitlines(keepends=True)
    assert refused == said
    assert "runs with a different configuration (restart it if the files are newer" in warning
    assert pagerelay("users", "alice").stdout == system.api("users", "alice").stdout


def test_an_action_through_the_api_warns_of_another_configuration(system: System) -> None:
    alice = user_of(system, "alice")
    pagerelay = system.configured(system.address.removeprefix("http://"), key="another-key")
    result = pagerelay("action", "GetUser", f"userId={alice}", "--wait", "30")
    (line,) = result.stderr.splitlines()
    assert f"the daemon at {system.address} runs with a different configuration" in line
    assert (result.exit_code, result.stdout.startswith("GetUser: done: ")) == (0, True)


def test_another_server_at_the_address_is_not_taken_for_a_daemon(system: System) -> None:
    alice = user_of(system, "alice")
    pagerelay = system.configured(system.pagerduty.removeprefix("http://"))
    assert pagerelay("action", "GetUser", f"userId={alice}", "--wait", "30").exit_code == 0
    assert pagerelay("users", "alice").stdout == system.api("users", "alice").stdout


def test_a_rejection_by_the_daemon_is_printed_unchanged(system: System, pagerelay: Call) -> None:
    call = ("action", "GetUser", "--idempotency-key", uuid.uuid4().hex)
    assert pagerelay(*call, "userId=PONE").exit_code == 0
    other = pagerelay(*call, "userId=PTWO")
    assert (other.exit_code, other.stdout) == (1, "")
    assert other.stderr == "this Idempotency-Key was already used with another request (use a new one)\n"


def test_a_connection_unknown_to_the_daemon_is_queried_directly_but_accepts_no_actions(system: System) -> None:
    pagerelay = system.configured(system.address.removeprefix("http://"), name="newer")
    assert pagerelay("users", "alice").stdout == system.api("users", "alice").stdout
    result = pagerelay("action", "GetUser", "userId=PALICE")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(
        rf"the daemon at {system.address} rejected the request: .*connection.* "
        r"\(restart it if the files have changed\)\n",
        result.stderr,
    )
