"""The registry of triggers: one file per trigger, one line here.

CLI, configuration check and the documentation's table are derived from ``REGISTRY``.
"""

from __future__ import annotations

from daemon.triggers import acknowledged, annotated, assigned, resolved, triggered
from daemon.triggers.kind import Kind

REGISTRY: dict[str, Kind] = {
    "incident.triggered": triggered.KIND,
    "incident.assigned": assigned.KIND,
    "incident.acknowledged": acknowledged.KIND,
    "incident.resolved": resolved.KIND,
    "incident.annotated": annotated.KIND,
}

BY_OPERATION: dict[str, Kind] = {kind.operation: kind for kind in REGISTRY.values()}

__all__ = ["BY_OPERATION", "REGISTRY", "Kind"]
