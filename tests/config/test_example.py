"""The example that newcomers copy: it loads, and it holds every key that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from daemon import config
from daemon.config import source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLE = Path(__file__).parent.parent.parent / "config.example.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
ENVIRONMENT = {
    "PAGERELAY_TOKEN": "a-token",
    "PAGERDUTY_API_KEY": "a-key",
    "OPS_SECRET": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
}
SCHEMA = config.schema()


def with_every_key(text: str) -> str:
    """The example with the keys set that it only shows."""
    return re.sub(r"^( *)#([a-z_]+:)", r"\1\2", text, flags=re.MULTILINE)


def keys_of_schema(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Section, key and description of everything that can be set."""
    for section, part in [("", schema), *schema["$defs"].items()]:
        for key, about in part["properties"].items():
            yield section, key, about.get("description", "")


def keys_in(value: object, part: Any, section: str = "") -> Iterator[tuple[str, str]]:
    """Section and key of everything that is set; ``part`` is the value's schema."""
    part = source.resolved(part, SCHEMA)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        known = part.get("properties", {})
        if key in known:
            yield part.get("title", "") if section else "", key
        yield from keys_in(inner, known.get(key) or part.get("additionalProperties"), key)


@pytest.fixture
def completed(tmp_path: Path) -> Path:
    """The example with every key set, as a file."""
    path = tmp_path / "config.yaml"
    path.write_text(with_every_key(TEXT), encoding="utf-8")
    return path


def test_the_example_loads_with_the_environment_that_it_names() -> None:
    settings = config.load(EXAMPLE, ENVIRONMENT)
    assert (list(settings.connections), list(settings.targets)) == (["acme"], ["ops"])
    assert list(settings.triggers) == ["new-incidents", "paged-alice", "war-room"]
    assert set(re.findall(r"\$\{([A-Z][A-Z_]+)\}", TEXT.replace("${NAME}", ""))) == set(ENVIRONMENT)


def test_the_example_loads_with_every_key_set_that_it_only_shows(completed: Path) -> None:
    settings = config.load(completed, ENVIRONMENT)
    assert settings.triggers["new-incidents"].start is not None
    assert settings.connections == config.load(EXAMPLE, ENVIRONMENT).connections


def test_every_key_of_the_schema_is_in_the_example(completed: Path) -> None:
    # A key that this version refuses cannot be set; it is named in a comment.
    wanted = {(section, key) for section, key, about in keys_of_schema(SCHEMA) if not about.startswith("Not available")}
    refused = {key for _, key, about in keys_of_schema(SCHEMA) if about.startswith("Not available")}
    assert wanted - set(keys_in(source.read(completed, ENVIRONMENT).values, SCHEMA)) == set()
    assert {key for key in refused if not re.search(rf"\b{key}\b", TEXT)} == set()


def test_an_editor_finds_the_schema_by_the_first_line_and_the_example_fits_it(completed: Path) -> None:
    assert TEXT.startswith("# yaml-language-server: $schema=pagerelay.schema.json\n")
    assert "pagerelay schema > pagerelay.schema.json" in TEXT
    for path in (EXAMPLE, completed):
        jsonschema.Draft202012Validator(SCHEMA).validate(source.read(path, {}).values)
