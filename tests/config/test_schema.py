"""The JSON Schema of the configuration, as an editor uses it: on the file as it is written."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from daemon import config, triggers
from tests.cli.conftest import invoke
from tests.config import keys

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
URL = "https://hooks.example.com/in"


def fits(**sections: Any) -> bool:
    """Return whether a file with these sections, and a connection, is one to the schema."""
    file = {"connections": {"acme": {"api_key": "k"}}} | sections
    return jsonschema.Draft202012Validator(config.schema()).is_valid(file)


def target(**changes: Any) -> dict[str, Any]:
    return {"ops": {"url": URL, "secret": SECRET} | changes}


def test_the_command_prints_a_valid_schema_of_draft_2020_12() -> None:
    printed = json.loads(invoke("schema").stdout)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed == json.loads(json.dumps(config.schema()))


def test_every_key_and_section_has_a_description() -> None:
    assert [key for key, part in keys.every_key().items() if not part.get("description", "").endswith(".")] == []
    assert all(part["description"] for part in config.schema()["$defs"].values())


def test_a_reference_may_stand_for_any_value() -> None:
    assert fits(connections={"acme": {"api_key": "${K}", "region": "${R:-us}", "limits": {"calls": "${C}"}}})
    assert fits(targets=target(secret="${S}", url="${U}", timeout="${T:-5s}", retry={"factor": "${F}"}))
    assert fits(database={"url": "${file:/run/secrets/url}"}, api={"listen": "${L}", "token": "${T}"})


@pytest.mark.parametrize(
    "invalid",
    [
        {"connections": {}},
        {"connections": {"my account": {"api_key": "k"}}},
        {"connections": {"acme": {}}},
        {"connections": {"acme": {"api_key": "k", "region": "mars"}}},
        {"connections": {"acme": {"api_key": "k", "limits": {"calls": "many"}}}},
        {"connections": {"acme": {"api_key": "k", "limits": {"calls": 0}}}},
        {"targets": target(secret="secret")},
        {"targets": target(secret=[])},
        {"targets": target(url="hooks.example.com")},
        {"targets": target(timeout="soon")},
        {"targets": target(format="slack")},
        {"targets": target(headers={"X Team": "ops"})},
        {"triggers": {"new": {"on": "incident.triggerd", "to": ["ops"]}}},
        {"triggers": {"new": {"on": "incident.triggered", "to": []}}},
        {"api": {"listen": "8421"}},
        {"logs": {}},
    ],
    ids=str,
)
def test_a_mistake_does_not_match_the_schema(invalid: dict[str, Any]) -> None:
    assert fits(targets=target())
    assert not fits(**invalid)


@pytest.mark.parametrize("on", [*triggers.REGISTRY, *triggers.BY_OPERATION])
def test_the_schema_lists_every_event_type_and_operation_id(on: str) -> None:
    assert fits(triggers={"new": {"on": on, "to": ["ops"]}})


def test_defaults_are_shown_as_they_are_written_in_a_file() -> None:
    defaults = {key: part.get("default") for key, part in keys.every_key().items()}
    assert defaults["connections.<name>.limits.period"] == "60s"
    assert defaults["targets.<name>.retry.horizon"] == "76h"
    assert defaults["database.url"] == "sqlite:///pagerelay.db"
