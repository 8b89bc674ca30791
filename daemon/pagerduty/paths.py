"""Paths of PagerDuty's API: whatever an id holds, it is one part of the path and leads nowhere else."""

from __future__ import annotations

from urllib.parse import quote


def to(*parts: str) -> str:
    """The parts, joined. Dots are written out, since ``.`` and ``..`` as parts would be dissolved."""
    return "".join("/" + quote(part, safe="").replace(".", "%2E") for part in parts)
