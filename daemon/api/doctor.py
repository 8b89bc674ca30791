"""GET /v1/doctor: the checks of ``pagerelay doctor``, made by the daemon itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from daemon.control import doctor
from daemon.control.doctor import Diagnosis  # noqa: TC001 - FastAPI reads the annotations

if TYPE_CHECKING:
    from daemon.control import Current
    from daemon.storage.database import Database

Offline = Annotated[bool, Query(description="Skip checks that need the network")]


def router(database: Database, current: Current) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["status"])
    turn = asyncio.Lock()  # one examination at a time, whoever asks

    @routes.get("/doctor")
    async def examine(*, offline: Offline = False) -> Diagnosis:
        """Check everything that pagerelay depends on; nothing is changed, and nothing sent to targets."""
        services = current.services
        examination = doctor.Examination(
            current.settings, database, hints=services.hints, clients=services.clients or None, offline=offline
        )
        async with turn:
            return await doctor.examine(examination)

    return routes
