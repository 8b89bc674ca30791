"""Paths of PagerDuty's API. An id is always one path segment, whatever it contains."""

from __future__ import annotations

from urllib.parse import quote


def to(*parts: str) -> str:
    """Return the parts joined to a path. Dots are escaped, since ``.`` and ``..`` would be resolved."""
    return "".join("/" + quote(part, safe="").replace(".", "%2E") for part in parts)
