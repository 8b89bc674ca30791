"""docs/configuration.md says the truth: every key, every default, every event type."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from daemon import triggers
from daemon.config import conditions
from tests.config import keys

TEXT = (Path(__file__).parent.parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")


def documented() -> dict[str, str]:
    """Return the default that the document names for each key: ``targets.<name>.url``."""
    defaults: dict[str, str] = {}
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE):
        heading = re.match(r"`([a-z_.<>]+)`\n", section)
        if heading is not None:
            for key, default, meaning in re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \| (.*)\|$", section, re.MULTILINE):
                if not key.startswith("incident."):
                    defaults[f"{heading[1]}.{key}"] = default
                    assert meaning or default == "required", key
    return defaults


def test_every_configuration_key_is_documented_and_no_other() -> None:
    about = documented()
    sections = {"targets.<name>.rate_limit"}  # which has no default of its own
    assert about.keys() - sections == keys.every_key().keys()


def test_every_default_matches_its_documentation() -> None:
    about = documented()
    for key, part in keys.every_key().items():
        default = part.get("default")
        if part["required"]:
            assert about[key] == "required", key
        elif default is not None:
            shown = f"{default:g}" if isinstance(default, float) else default
            shown = json.dumps(default) if isinstance(default, bool) else shown
            assert about[key] == f"`{shown}`", key
        else:
            assert about[key] != "required", key
            assert about[key].startswith("`") == (about[key] in {"`[]`", "`{}`"}), key


def test_settings_refused_by_this_version_are_documented_as_refused() -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| .+? \| (.*) \|$", TEXT, re.MULTILINE))
    refused = [key for key, part in keys.every_key().items() if part["description"].startswith("Not available")]
    assert {key: rows[key.rpartition(".")[2]] for key in refused} == dict.fromkeys(
        refused, "Not available in this version"
    )


def test_every_event_type_is_documented_with_its_operation_id() -> None:
    rows = re.findall(r"^\| `(incident\.[a-z_.]+)` \| (?:`(On\w+)`)? \| .+ \|$", TEXT, re.MULTILINE)
    assert dict(rows) == {kind.name: kind.operation or "" for kind in triggers.REGISTRY.values()}


def test_every_subtype_is_documented() -> None:
    rows = re.findall(r"^\| `(incident\.[a-z_.]+)` \| (?!`On)(?! ?\|)[^|]+ \|$", TEXT, re.MULTILINE)
    assert rows == list(triggers.SUBTYPES)
    assert f"`{triggers.EVERY}`" in TEXT


def test_the_example_conditions_work_for_every_event_type() -> None:
    shown = [yaml.safe_load(line)["if"] for line in re.findall(r"^if: .+$", TEXT, re.MULTILINE)]
    assert len(shown) >= 5
    assert {each: conditions.mistake(each, [triggers.EVERY], shown=True) for each in shown} == dict.fromkeys(shown)
