"""The JSON Schema of the file, and hints about unknown and missing keys that are derived from it."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from pydantic.json_schema import GenerateJsonSchema

from daemon.config import file_model
from daemon.config.document import Place, dotted, hint
from daemon.config.validators import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCE = {"type": "string", "pattern": r"\$\{"}
ABOUT = ("default", "description", "examples", "title")
STRICT = ("enum", "maximum", "minimum")


class _Writer(GenerateJsonSchema):
    """A generator that writes defaults as they are written in a file."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - pydantic's own
        """Return a default as JSON. No default is a secret."""
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return dft.get_secret_value() if isinstance(dft, SecretStr) else super().encode_default(dft)


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file before references are replaced."""
    document = file_model.File.model_json_schema(schema_generator=_Writer)
    for each in (document, *document["$defs"].values()):
        each["properties"] = {key: _named(_with_reference(part)) for key, part in each["properties"].items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "title": "pagerelay configuration"}


def _with_reference(part: dict[str, Any]) -> dict[str, Any]:
    """Allow ``${NAME}`` in place of a number or of a value of an enum."""
    if not any(key in part for key in STRICT):
        return part
    about: dict[str, Any] = {key: part[key] for key in ABOUT if key in part}
    return {"anyOf": [{key: value for key, value in part.items() if key not in about}, REFERENCE], **about}


def _named(part: dict[str, Any]) -> dict[str, Any]:
    """Rewrite ``patternProperties``, so that names that do not match the pattern are rejected."""
    if "patternProperties" not in part:
        return part
    ((pattern, entry),) = part["patternProperties"].items()
    rest = {key: value for key, value in part.items() if key != "patternProperties"}
    return {**rest, "additionalProperties": entry, "propertyNames": {"pattern": pattern}}


def resolved(part: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any part of a schema
    """Return a part of the schema with its reference followed, and the first non-null branch of an ``anyOf``."""
    if not isinstance(part, dict):
        return {}
    if "$ref" in part:
        return resolved(schema()["$defs"][part["$ref"].rpartition("/")[2]])
    for branch in part.get("anyOf", ()):
        if branch.get("type") != "null":
            return resolved(branch)
    return part


def section(place: Place) -> Mapping[str, Any]:
    """Return the schema of a place, or an empty one for an unknown place."""
    at = resolved(schema())
    for part in place:
        at = resolved(at.get("properties", {}).get(part) or at.get("additionalProperties"))
    return at


def unknown(place: Place) -> str:
    """Return the mistake for an unknown key: where it belongs, or the most similar known key."""
    around, key = place[:-1], str(place[-1])
    beside = _keys(around)
    inside = [(*around, each) for each in beside]
    outside = [around[:end] for end in range(len(around) - 1, -1, -1)]
    for elsewhere in [*inside, *outside]:
        if key in _keys(elsewhere):
            return f"unknown key (did you mean {dotted((*elsewhere, key))}?)"
    return f"unknown key{hint(key, beside)}"


def _keys(place: Place) -> list[str]:
    return list(section(place).get("properties", {}))


def missing(place: Place) -> str:
    """Return the mistake for a missing required key, with an example."""
    part = section(place[:-1]).get("properties", {}).get(place[-1], {})
    for example in part.get("examples", ()):
        value = f"[{', '.join(example)}]" if isinstance(example, list) else example
        return f"is required (for example {place[-1]}: {value})"
    return "is required (see config.example.yaml)"
