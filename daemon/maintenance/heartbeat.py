"""The heartbeat of this daemon; claims of daemons without one are released."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from daemon.runtime import identity
from daemon.storage import action_queue, claims, instances, targets

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.storage.database import Database

log = structlog.get_logger()

EVERY = timedelta(seconds=15)


class Heartbeat:
    """Keeps this daemon's row fresh; the status shows its ``hostname`` and ``version``."""

    def __init__(self, database: Database, instance: str, hostname: str, version: str) -> None:
        self._database = database
        self._instance = instance
        self._hostname = hostname
        self._version = version

    async def run(self) -> timedelta:
        """Record a heartbeat and reap dead daemons."""
        reaped = await self._database.write(self._beat)
        if reaped:
            log.warning("instance.reaped", instances=reaped)
        return EVERY

    def _beat(self, tx: sa.Connection) -> list[str]:
        now = self._database.now(tx)
        if not instances.heartbeat(tx, self._instance, now):
            instances.register(tx, self._instance, self._hostname, self._version, now)
        reaped = instances.reap(tx, now, identity.has_ended)
        targets.free_probes(tx, reaped, now)
        claims.release(tx, reaped)
        action_queue.release(tx, reaped)
        return reaped
