"""Who does things, and by which way, as log entries name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident


def hand(incident: Incident, by: User | None, otherwise: str) -> tuple[Json, Json]:
    """Agent and channel of what somebody did in the web, or what its service did through ``otherwise``."""
    return web(by) if by else (service(incident), channel(otherwise))


def web(by: User) -> tuple[Json, Json]:
    """Agent and channel of what somebody did in the web."""
    return user(by), channel("website")


def user(user: User) -> Json:
    """Somebody."""
    return {"id": user.id, "type": "user_reference", "summary": user.name}


def service(incident: Incident) -> Json:
    """An incident's service."""
    return {"id": incident.service.id, "type": "service_reference", "summary": incident.service.name}


def channel(kind: str) -> Json:
    """A way."""
    return {"type": kind}
