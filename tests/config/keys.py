"""Every key of the configuration, after its JSON Schema, and files as they are before references are replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.config import json_schema, source
from daemon.config.document import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAME = "<name>"


class _Unreplaced(dict[str, str]):
    """An environment in which every reference stands for itself."""

    def get(self, key: str, default: Any = None) -> Any:
        return f"${{{key}}}"


def unreplaced(path: Path) -> dict[str, Any]:
    """Return the file's values as an editor sees them."""
    tree = Tree(str(path))
    source.read(path, _Unreplaced(), tree)
    return tree.values


def every_key() -> dict[str, dict[str, Any]]:
    """What the schema says about each key that takes a value: ``targets.<name>.url``, and whether it is ``needed``."""
    return dict(_keys((), json_schema.schema()))


def _keys(place: tuple[str, ...], part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    inner = json_schema.resolved(part)
    entry = inner.get("additionalProperties")
    if "properties" in inner:
        for key, each in inner["properties"].items():
            yield from _keys((*place, key), {**each, "required": key in inner.get("required", ())})
    elif json_schema.resolved(entry).get("properties"):
        yield from _keys((*place, NAME), dict(json_schema.resolved(entry)))
    else:
        yield ".".join(place), part


def is_set(values: Mapping[str, Any], key: str) -> bool:
    """Return whether the values have the key, in whichever entry."""
    first, _, rest = key.partition(".")
    inner = list(values.values()) if first == NAME else [values[first]] if first in values else []
    return bool(inner) if not rest else any(is_set(each, rest) for each in inner if isinstance(each, dict))
