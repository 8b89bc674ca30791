"""The example that newcomers copy: it loads, and it holds every key that there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import jsonschema
import pytest

from daemon import config
from tests.config import keys
from tests.harness.certificates import Authority

EXAMPLE = Path(__file__).parent.parent.parent / "config.example.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
ENVIRONMENT = {
    "PAGERELAY_TOKEN": "a-token",
    "PAGERELAY_READ_TOKEN": "another-token",
    "PAGERDUTY_API_KEY": "a-key",
    "PAGERDUTY_CLIENT_ID": "an-app",
    "PAGERDUTY_CLIENT_SECRET": "an-app-secret",
    "OPS_SECRET": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
}


def with_every_key(text: str) -> str:
    """Return the example with the keys set that it only shows."""
    return re.sub(r"^( *)#([a-z0-9_]+:)", r"\1\2", text, flags=re.MULTILINE)


@pytest.fixture
def completed(tmp_path: Path) -> Path:
    """Return the example with every key set, as a file."""
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    authority.issue("pagerelay", client=True).written(tmp_path, "pagerelay")
    path = tmp_path / "config.yaml"
    path.write_text(with_every_key(TEXT).replace("/etc/pagerelay/", f"{tmp_path}/"), encoding="utf-8")
    return path


@pytest.fixture
def with_app(completed: Path) -> Path:
    """Return the same, without the key that an app replaces."""
    completed.write_text(re.sub(r"^ *api_key:.*\n", "", completed.read_text(encoding="utf-8"), flags=re.MULTILINE))
    return completed


def test_the_example_loads_with_the_environment_variables_that_it_names() -> None:
    settings = config.load(EXAMPLE, ENVIRONMENT)
    assert (list(settings.connections), list(settings.targets)) == (["acme"], ["ops"])
    assert list(settings.triggers) == ["new-incidents", "paged-alice", "war-room", "handovers", "most-important"]
    assert set(re.findall(r"\$\{([A-Z][A-Z_]+)\}", TEXT.replace("${NAME}", ""))) == set(ENVIRONMENT)


def test_the_example_loads_with_every_commented_key_set(with_app: Path) -> None:
    assert with_every_key(TEXT) != TEXT
    settings = config.load(with_app, ENVIRONMENT)
    assert settings.triggers["new-incidents"].start is not None
    (acme,) = settings.connections.values()
    assert acme.proxy is not None
    assert acme.oauth is not None
    assert acme.oauth.scope == "as_account-us.acme incidents.read users.read"
    (with_key,) = config.load(EXAMPLE, ENVIRONMENT).connections.values()
    assert dataclasses.replace(acme, proxy=None, oauth=None, api_key=with_key.api_key) == with_key


def test_every_key_of_the_schema_is_in_the_example(completed: Path) -> None:
    # A key that this version refuses cannot be set; it is named in a comment.
    refused = {key for key, part in keys.every_key().items() if part["description"].startswith("Not available")}
    assert [key for key in keys.every_key().keys() - refused if not keys.is_set(keys.unreplaced(completed), key)] == []
    assert [key for key in refused if not re.search(rf"\b{key.rpartition('.')[2]}\b", TEXT)] == []


def test_the_first_line_of_the_example_names_the_schema_and_the_example_is_valid(with_app: Path) -> None:
    assert TEXT.startswith("# yaml-language-server: $schema=pagerelay.schema.json\n")
    assert "pagerelay schema > pagerelay.schema.json" in TEXT
    for path in (EXAMPLE, with_app):
        jsonschema.Draft202012Validator(config.schema()).validate(keys.unreplaced(path))


def test_values_of_the_example_without_a_stated_default_are_the_defaults(completed: Path) -> None:
    """Lines that say nothing about a default hold it, as the example's head promises."""
    example = keys.unreplaced(completed)
    names = {section: next(iter(example[section])) for section in ("connections", "targets", "triggers")}
    defaults = {key: part["default"] for key, part in keys.every_key().items() if part.get("default") is not None}
    assert len(defaults) > 20
    for key, default in defaults.items():
        value = example
        for part in key.replace(keys.NAME, names[key.split(".")[0]] if keys.NAME in key else "").split("."):
            value = value[part]
        assert value == default, key
