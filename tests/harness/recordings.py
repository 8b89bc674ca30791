"""Published recordings of PagerDuty's responses, if they are stored beside the checkout."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[3] / "shared" / "pagerduty"
NO_RECORDS = {"index.json", "v3-webhooks.json"}  # of the REST API


def log_entries() -> dict[str, list[dict[str, Any]]]:
    """Return the log entries of each recording, and of the examples in the OpenAPI document, in order of time.

    PagerDuty lists the newest first: within one second the reverse of the file's order is the order of events.
    """
    recordings: dict[str, list[dict[str, Any]]] = {}
    for name, content in _files().items():
        entries = {entry["id"]: entry for entry in _entries(content, None)}
        if entries:
            recordings[name] = list(reversed(entries.values()))
            recordings[name].sort(key=happened_at)
    return recordings


def incidents() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the complete incidents of each recording by id, as GET /incidents shows them."""
    recordings = {name: {each["id"]: each for each in _incidents(content)} for name, content in _files().items()}
    return {name: each for name, each in recordings.items() if each}


def happened_at(entry: dict[str, Any]) -> datetime:
    """Return when the entry happened."""
    return datetime.fromisoformat(entry["created_at"])


@cache
def _files() -> dict[str, Any]:
    paths = [path for path in FOLDER.glob("records/*.json") if path.name not in NO_RECORDS]
    paths += FOLDER.glob("rest-openapi.json")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(paths)}


def _entries(value: object, incident: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield every log entry, with the incident that contains it if it does not name one itself."""
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


def _incidents(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _incidents(item)
    if not isinstance(value, dict):
        return
    if value.get("type") == "incident" and "created_at" in value and "id" in value:
        yield {key: each for key, each in value.items() if key != "log_entries"}
        return
    for item in value.values():
        yield from _incidents(item)
