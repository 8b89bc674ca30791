"""docs/comparison.md: every claim has its source, every named test exists, and no event type of PagerDuty is missing.

The comparison with PagerDuty's own files is skipped without them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from daemon import formats, triggers
from daemon.cli import app
from tests.harness import recordings

ROOT = Path(__file__).parents[2]
WHOLE, _, NOTES = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8").partition("\n## Sources\n")
TEXT, _, TYPES = WHOLE.partition("\n## PagerDuty's event types\n")
SOURCES = dict(re.findall(r"^\[\^([\w-]+)\]: (.+)$", NOTES, re.MULTILINE))
OURS = {name: source for name, source in SOURCES.items() if name.startswith("p-")}
UNFOUNDED = re.compile(r"(no|nothing|none|\?|–)(\W.*)?")  # cells that need no source


def cells() -> list[list[str]]:
    """Return the rows of all tables, without their heads."""
    rows = [line[1:-1].split("|") for line in TEXT.splitlines() if re.match(r"\| (?!\|)(?!-)", line)]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip()]


def test_every_claim_has_a_source_and_every_source_a_claim() -> None:
    assert len(cells()) > 30
    assert {len(row) for row in cells()} == {7}
    assert [
        (row[0], cell) for row in cells() for cell in row[1:] if "[^" not in cell and not UNFOUNDED.fullmatch(cell)
    ] == []
    assert set(re.findall(r"\[\^([\w-]+)\]", WHOLE)) == SOURCES.keys()


def test_claims_about_others_have_a_link_and_claims_about_us_have_a_test() -> None:
    assert [name for name, source in SOURCES.items() if name not in OURS and "https://" not in source] == []
    tried = re.compile(r"`test_|`make |`pagerelay |`curl |\]\(")
    assert [name for name, source in OURS.items() if not tried.search(source)] == []
    known = typer.main.get_command(app)
    commands = {
        words.split()[0] for source in OURS.values() for words in re.findall(r"`pagerelay ([a-z][^`]*)`", source)
    }
    assert commands <= set(getattr(known, "commands", {}))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {target for source in OURS.values() for target in re.findall(r"`make (\w+)", source)}
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert targets
    assert commands


# --- PagerDuty's event types

DETECTED = {
    name: (how, why) for name, how, why in re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| (.+) \|$", TYPES, re.MULTILINE)
}


def test_the_table_of_pagerdutys_types_says_what_the_registry_does() -> None:
    ours = {name for name, (how, _) in DETECTED.items() if how != "–"}
    for name in ours:
        kind = triggers.BY_NAME[name]
        how, why = DETECTED[name]
        assert how == ("comparison" if kind.compare is not None else "log entry")
        assert set(re.findall(r"`([a-z_]+_log_entry)`", why)) <= set(triggers.BY_LOG_ENTRY)
        assert not kind.log_entry_types or kind.log_entry_types & set(re.findall(r"`([a-z_]+_log_entry)`", why))
    v3 = formats.REGISTRY["pagerduty-v3"]
    assert {name for name in triggers.BY_NAME if v3.supports(name)} - {"incident.assigned"} <= ours
    assert not {name for name in DETECTED if name not in ours} & triggers.BY_NAME.keys()
    counts = tuple(sum(name.startswith(kind) for name in DETECTED) for kind in ("incident.", "service."))
    assert counts == (26, 4)


@pytest.mark.skipif(not recordings.FOLDER.exists(), reason="PagerDuty's files are not beside the checkout")
def test_the_table_has_every_type_that_pagerdutys_files_name() -> None:
    """The description of the REST API names them in its examples, the webhooks in their bodies."""
    described = json.loads((recordings.FOLDER / "rest-openapi.json").read_text(encoding="utf-8"))
    examples = json.dumps({key: each for key, each in described["components"]["examples"].items() if "Subscr" in key})
    webhooks = (recordings.FOLDER / "records" / "v3-webhooks.json").read_text(encoding="utf-8")
    documents = "".join(path.read_text(encoding="utf-8") for path in recordings.FOLDER.glob("*webhooks*.md"))
    named = set(re.findall(r"\"((?:incident|service)\.[a-z_.]+)\"", examples))
    named |= set(re.findall(r"\"event_type\": ?\"([a-z_.]+)\"", webhooks))
    named |= set(re.findall(r"^\| `?((?:incident|service)\.[a-z_.]+)`? ", documents, re.MULTILINE))
    assert len(named) > 12
    assert named <= DETECTED.keys()


@pytest.mark.skipif(not recordings.FOLDER.exists(), reason="PagerDuty's files are not beside the checkout")
def test_no_log_entry_of_pagerdutys_files_is_unknown() -> None:
    """What the table calls undetectable would otherwise be in the log."""
    files = [recordings.FOLDER / "rest-openapi.json", *recordings.FOLDER.glob("records/*.json")]
    named = {
        kind for path in files for kind in re.findall(r"\"([a-z_]+_log_entry)\"", path.read_text(encoding="utf-8"))
    }
    types = named - {"first_trigger_log_entry", "include_log_entry", "acknowledgement_log_entry"}
    assert {kind for kind in types if not triggers.is_known(kind)} == set()


@pytest.mark.skipif(not recordings.FOLDER.exists(), reason="PagerDuty's files are not beside the checkout")
def test_pagerdutys_api_has_what_the_table_says_and_lacks_what_it_says() -> None:
    described = json.loads((recordings.FOLDER / "rest-openapi.json").read_text(encoding="utf-8"))
    incident = described["components"]["schemas"]["Incident"]["allOf"][1]["properties"]
    assert {"incidents_responders", "conference_bridge", "incident_type", "service"} <= incident.keys()
    assert not [key for key in incident if re.search(r"task|role|workflow|invocation", key)]
    assert "conference_bridge" in described["components"]["parameters"]["include_incidents"]["schema"]["enum"]
    assert described["paths"]["/incident_workflows/{id}/instances"].keys() & {"get", "post"} == {"post"}
    assert not [path for path in described["paths"] if re.search(r"tasks|incident_roles|incidents/.*roles", path)]
    assert "get" in described["paths"]["/automation_actions/invocations"]
