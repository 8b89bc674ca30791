"""Agents and channels of log entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident


def hand(incident: Incident, by: User | None, otherwise: str) -> tuple[Json, Json]:
    """Return agent and channel of a user's change in the web, or of the service's change through ``otherwise``."""
    return web(by) if by else (service(incident), channel(otherwise))


def web(by: User) -> tuple[Json, Json]:
    """Return agent and channel of a user's change in the web."""
    return user(by), channel("website")


def user(user: User) -> Json:
    """Return a reference to a user."""
    return {"id": user.id, "type": "user_reference", "summary": user.name}


def service(incident: Incident) -> Json:
    """Return a reference to an incident's service."""
    return {"id": incident.service.id, "type": "service_reference", "summary": incident.service.name}


def channel(kind: str) -> Json:
    """Return a channel."""
    return {"type": kind}
