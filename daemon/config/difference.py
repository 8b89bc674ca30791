"""The differences between two configurations, as dotted paths of the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the path of every value that differs, such as ``targets.ops.url``; an entry that came or went once."""
    return sorted(_changed(old, new, ""))


def _changed(old: Any, new: Any, path: str) -> list[str]:  # noqa: ANN401 - any value of the file
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            each
            for key in old.keys() | new.keys()
            for each in _changed(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if old == new else [path]
