"""docs/actions.md: its tables are complete, and its examples work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from daemon import actions, model
from daemon.actions import error_codes
from daemon.simulator import Account
from daemon.storage import schema
from daemon.storage.database import Database
from tests.cli import forked, running_daemon

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "actions.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    lines = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("|")]
    first = rows.index(next(row for row in rows if set(row) <= set("|-")))
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[first + 1 :]]


def error_rows() -> list[list[str]]:
    """Return the rows that the table of errors must have."""
    numbers: dict[str, list[str]] = {}
    for status, word in error_codes.STATUS_CODES.items():
        numbers.setdefault(word, []).append(f"HTTP {status}")
    for code, word in error_codes.CODES.items():
        numbers.setdefault(word, []).append(str(code))
    return [
        [f"`{word}`", ", ".join(sorted(numbers.get(word, []))) or "–", what]
        for word, what in error_codes.REMEDIES.items()
    ]


def test_the_table_of_operations_matches_the_registry() -> None:
    rows = table("The operations")
    assert [row[:3] for row in rows] == [
        [f"`{each.name}`", " ".join(f"`{name}`" for name in each.parameters.model_fields), each.result]
        for each in actions.REGISTRY.values()
    ]
    assert [row for row in rows if len(row) != 5 or not all(row)] == []


def test_the_table_of_errors_has_every_code_and_what_to_do() -> None:
    expected = "\n".join(f"| {' | '.join(row)} |" for row in error_rows())
    assert [row for row in error_rows() if row not in table("Errors")] == [], f"the table has to be:\n{expected}"
    assert len(table("Errors")) == len(error_rows())


def test_every_error_code_of_an_action_has_a_remedy() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "daemon").rglob("*.py"))
    raised = set(re.findall(r'ActionError\(\s*"(\w+)"', code))
    named = {
        *error_codes.CODES.values(),
        *error_codes.STATUS_CODES.values(),
        error_codes.OTHERWISE,
        error_codes.GAVE_UP,
    }
    assert raised
    assert raised | named | {error_codes.TEMPORARY, error_codes.CANCELLED} == error_codes.REMEDIES.keys()


@pytest.mark.parametrize("words", [model.ActionState, model.Outcome])
def test_every_state_and_outcome_is_explained(words: type[model.ActionState | model.Outcome]) -> None:
    section = TEXT.partition("\n## States and outcomes\n")[2].partition("\n## ")[0]
    assert [each for each in words if f"\n| `{each}` | " not in section] == []


# --- the examples


def blocks(kind: str) -> list[str]:
    """Return the blocks of code of one kind."""
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_examples_work_against_the_simulator(tmp_path: Path) -> None:
    """Run the examples; without curl, skip those that need it."""
    account = Account(api_key="simulator", seed=7)
    names = account.directory
    (tmp_path / "pagerelay.env").touch(0o600)
    (tmp_path / "pagerelay.env").write_text("PAGERELAY_TOKEN=a-token\n", encoding="utf-8")
    with running_daemon.simulating(account) as pagerduty:
        incident = account.trigger("Disk full on db1").id
        here = {"127.0.0.1:8422": pagerduty.removeprefix("http://"), "127.0.0.1:8421": "127.0.0.1:0"}
        configuration = tmp_path / "config.yaml"
        configuration.write_text(replaced(blocks("yaml")[0], here), encoding="utf-8")
        with running_daemon.running(configuration, tmp_path) as address:
            here["127.0.0.1:8421"] = address.removeprefix("http://")
            configuration.write_text(replaced(blocks("yaml")[0], here), encoding="utf-8")
            variables = {
                "incident": incident,
                "user": names.users[0].id,
                "colleague": names.users[1].id,
                "policy": names.policies[0].id,
                "service_key": names.services[0].key,
                "PAGERELAY_TOKEN": "a-token",  # set by the first example in the shell that runs the others
                "PATH": forked.path(),
            }
            outputs = [ran(replaced(each, here), tmp_path, variables) for each in blocks("sh") if possible(each)]
    everything = "\n".join(outputs)
    assert f"AcknowledgeIncident: done: {incident} is acknowledged" in everything
    assert f"ResolveIncident: done: {incident} is resolved" in everything
    assert "CreateIncident: done: PagerDuty accepted the event" in everything
    assert "AcknowledgeIncident: too late" in everything
    database = Database(f"sqlite:///{tmp_path / 'pagerelay.db'}")
    by_key = sa.select(sa.func.count()).where(schema.actions.c.operation == "AcknowledgeIncident")
    assert database.read_now(lambda tx: tx.execute(by_key).scalar_one()) == 3  # the two with one key are one
    database.close()
    assert [note.content for note in account.incident(incident).notes] == ["On it.", "What was seen:\nnothing at all"]


def replaced(text: str, by: dict[str, str]) -> str:
    """Return a text with the addresses that are used here."""
    return re.sub("|".join(map(re.escape, by)), lambda found: by[found.group()], text)


def possible(block: str) -> bool:
    """Return whether an example can run on this machine."""
    return "curl " not in block or shutil.which("curl") is not None


def ran(block: str, folder: Path, variables: dict[str, str]) -> str:
    """Run an example, which must succeed; return its output."""
    command = ["sh", "-eu", "-c", block]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout
