"""The JSON Schema of the file, and what it can tell about a place: which keys go there, and what they look like."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from pydantic.json_schema import GenerateJsonSchema

from daemon.config import file_model
from daemon.config.document import Place, dotted, hint
from daemon.config.validators import written

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCE = {"type": "string", "pattern": r"\$\{"}
ABOUT = ("default", "description", "examples", "title")
STRICT = ("enum", "maximum", "minimum")


class _Writer(GenerateJsonSchema):
    """Shows defaults as people write them."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - pydantic's own
        """A default in JSON; no default is a secret."""
        if isinstance(dft, timedelta):
            return written(dft)
        return dft.get_secret_value() if isinstance(dft, SecretStr) else super().encode_default(dft)


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of the file, as it is before references are replaced."""
    made = file_model.File.model_json_schema(schema_generator=_Writer)
    for each in (made, *made["$defs"].values()):
        each["properties"] = {key: _named(_with_reference(part)) for key, part in each["properties"].items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "pagerelay configuration"}


def _with_reference(part: dict[str, Any]) -> dict[str, Any]:
    """Where a number or one of a few words stands, ``${NAME}`` may stand for it."""
    if not any(key in part for key in STRICT):
        return part
    about: dict[str, Any] = {key: part[key] for key in ABOUT if key in part}
    return {"anyOf": [{key: value for key, value in part.items() if key not in about}, REFERENCE], **about}


def _named(part: dict[str, Any]) -> dict[str, Any]:
    """Entries with names of the user's choice: any name that fits the pattern, and no other."""
    if "patternProperties" not in part:
        return part
    ((pattern, entry),) = part["patternProperties"].items()
    rest = {key: value for key, value in part.items() if key != "patternProperties"}
    return {**rest, "additionalProperties": entry, "propertyNames": {"pattern": pattern}}


def resolved(part: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any part of a schema
    """A part of the schema with its reference followed, and the non-null branch of a choice."""
    if not isinstance(part, dict):
        return {}
    if "$ref" in part:
        return resolved(schema()["$defs"][part["$ref"].rpartition("/")[2]])
    for branch in part.get("anyOf", ()):
        if branch.get("type") != "null":
            return resolved(branch)
    return part


def section(place: Place) -> Mapping[str, Any]:
    """What the schema says about a place; nothing if there is no such place."""
    at = resolved(schema())
    for part in place:
        at = resolved(at.get("properties", {}).get(part) or at.get("additionalProperties"))
    return at


def unknown(place: Place) -> str:
    """What to say about a key that its section does not know: where it belongs, or what it is like."""
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
    """What to say about a key that must be there."""
    part = section(place[:-1]).get("properties", {}).get(place[-1], {})
    for example in part.get("examples", ()):
        shown = f"[{', '.join(example)}]" if isinstance(example, list) else example
        return f"is required (for example {place[-1]}: {shown})"
    return "is required (see config.example.yaml)"
