"""The heartbeat of this daemon; claims of daemons without one are released.

With ``INSTANCE_TTL``, a silent daemon's work is taken over within 20 seconds: three heartbeats may fail or be late.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from daemon.runtime import identity
from daemon.storage import action_queue, claims, instances, targets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import sqlalchemy as sa

    from daemon.runtime.presence import Presence
    from daemon.storage.database import Database

log = structlog.get_logger()

EVERY = timedelta(seconds=4)


@dataclass(frozen=True, slots=True)
class Self:
    """The content of a daemon's row: its id, and what the status shows."""

    instance: str
    hostname: str
    version: str
    config_hash: str


class Heartbeat:
    """Keeps this daemon's row fresh.

    ``stop_work`` ends the work that others have taken over from this daemon, ``resume_work`` looks for work that
    others have left.
    """

    def __init__(
        self,
        database: Database,
        me: Self,
        presence: Presence,
        *,
        stop_work: Callable[[], Awaitable[None]],
        resume_work: Callable[[], None],
    ) -> None:
        self._database = database
        self._me = me
        self._presence = presence
        self._stop_work = stop_work
        self._resume_work = resume_work

    async def run(self) -> timedelta:
        """Record a heartbeat, and reap dead daemons unless this one was silent itself."""
        was_silent = not self._presence.is_current()
        began = self._presence.now()
        if not await self._database.write(self._beat):
            log.warning(
                "instance.was_reaped", remedy="other daemons have taken over its work; it continues as a new one"
            )
            await self._stop_work()
            began = self._presence.now()
            await self._database.write(self._register)
        self._presence.confirm(began)
        reaped = [] if was_silent else await self._database.write(self._reap)
        if reaped:
            log.warning("instance.reaped", instances=reaped)
            self._resume_work()
        return EVERY

    def _beat(self, tx: sa.Connection) -> bool:
        return instances.heartbeat(tx, self._me.instance, self._database.now(tx))

    def _register(self, tx: sa.Connection) -> None:
        me = self._me
        instances.register(tx, me.instance, me.hostname, me.version, self._database.now(tx), me.config_hash)

    def _reap(self, tx: sa.Connection) -> list[str]:
        now = self._database.now(tx)
        reaped = instances.reap(tx, now, identity.has_ended)
        targets.free_probes(tx, reaped, now)
        claims.release(tx, reaped)
        action_queue.release(tx, reaped)
        return reaped
