"""The details of the alert that created an incident: its host, its runbook, whatever its sender put in. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from daemon.model import MASK

if TYPE_CHECKING:
    from daemon.model import Json

    Details: TypeAlias = Json | str | None

LARGEST = 16 * 1024  # bytes of JSON in UTF-8
ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")  # of e-mail


def read(channel: Json) -> Details:
    """Return the details in the channel of a trigger entry, a text or an object, or None if there are none.

    E-mail addresses are masked. What does not fit into ``LARGEST`` is left out: the end of a text, the last fields of
    an object. (Contact details of people under names of their own are not in a record at all.)
    """
    details = _masked(channel.get("details"))
    if isinstance(details, str):
        return _cut(details, LARGEST) or None
    if not isinstance(details, dict):
        return None
    left, parts = LARGEST - 2, {}
    for name, value in details.items():
        left -= _size(name) + 2
        if isinstance(value, str):
            value = _cut(value, left)  # noqa: PLW2901 - the part of the value that fits
        if value is None or _size(value) <= left:
            parts[name] = value
            left -= _size(value)
        if left <= 0:
            break
    return parts or None


def _masked(value: Any) -> Any:  # noqa: ANN401 - any JSON
    match value:
        case str():
            return ADDRESS.sub(MASK, value)
        case list():
            return [_masked(item) for item in value]
        case dict():
            return {name: _masked(item) for name, item in value.items()}
        case _:
            return value


def _cut(text: str, size: int) -> str:
    """Return the beginning of a text that takes at most ``size`` bytes as JSON."""
    if _size(text) <= size:
        return text
    low, high = 0, min(len(text), max(size, 0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(text[:middle] + "…") <= size else (low, middle - 1)
    return text[:low] + "…" if low else ""


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
