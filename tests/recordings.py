"""What PagerDuty wrote and others published, where it lies beside the checkout; absent elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "shared" / "pagerduty"


def log_entries() -> dict[str, list[dict[str, Any]]]:
    """The log entries of each recording, and of the examples in the OpenAPI document, each once, oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in [*sorted(FOLDER.glob("records/*.json")), FOLDER / "rest-openapi.json"]:
        if path.exists() and path.name != "index.json":
            entries = {entry["id"]: entry for entry in _entries(json.loads(path.read_text()), None)}
            if entries:
                found[path.stem] = sorted(entries.values(), key=lambda entry: str(entry["created_at"]))
    return found


def _entries(value: object, incident: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Every log entry, with the incident that it hangs on if it names none itself."""
    if isinstance(value, list):
        for item in value:
            yield from _entries(item, incident)
    if not isinstance(value, dict):
        return
    kind = str(value.get("type"))
    if kind.endswith("_log_entry") and "created_at" in value and "id" in value:
        named = value.get("incident")
        yield value if named or incident is None else value | {"incident": incident}
        return
    if kind == "incident" and "id" in value:
        incident = value
    for item in value.values():
        yield from _entries(item, incident)
