"""Recording of delivery results and target changes, in groups: one transaction each.

Records that cannot be written are kept for the next time. Nothing is decided here; ``record`` returns what it wrote.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from daemon.storage import claims, results, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.model import TargetChange
    from daemon.storage.database import Database

log = structlog.get_logger()

GROUP_SECONDS = 0.02
GROUP_SIZE = 500


@dataclass
class Records:
    """Records to write: results, deliveries to release by the time until which they wait, changed targets."""

    results: list[results.Result] = field(default_factory=list)
    given_back: dict[datetime | None, list[int]] = field(default_factory=dict)
    changes: Mapping[str, TargetChange] = field(default_factory=dict)

    def give_back(self, ids: Iterable[int], until: datetime | None) -> None:
        """Add deliveries that were not attempted."""
        self.given_back.setdefault(until, []).extend(ids)

    def is_empty(self) -> bool:
        """Return whether there is nothing to record."""
        return not (self.results or self.given_back or self.changes)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The written records, the targets that are paused, and those whose change was overtaken by another daemon's."""

    records: Records
    paused: frozenset[str] = frozenset()
    overtaken: frozenset[str] = frozenset()


class Recorder:
    """Records for the daemon ``instance``. ``now`` is the database's time."""

    def __init__(self, database: Database, instance: str, now: Callable[[], datetime]) -> None:
        self._database = database
        self._instance = instance
        self._now = now
        self._waiting = Records()
        self._woken = asyncio.Event()
        self._closing = False

    @property
    def is_closing(self) -> bool:
        """Return whether the next record is the last one."""
        return self._closing

    def keep(self, result: results.Result) -> None:
        """Record an attempt with the next group."""
        self._waiting.results.append(result)
        self.wake()

    def give_back(self, ids: Collection[int], until: datetime | None) -> None:
        """Release deliveries that were claimed but not attempted, with the next group."""
        if ids:
            self._waiting.give_back(ids, until)
            self.wake()

    def wake(self) -> None:
        """Record soon: a target may have changed."""
        self._woken.set()

    def close(self) -> None:
        """Make the next record the last one."""
        self._closing = True
        self._woken.set()

    async def wait(self) -> None:
        """Wait until there is something to record, and a moment more for the rest of its group."""
        await self._woken.wait()
        if len(self._waiting.results) < GROUP_SIZE:
            await asyncio.sleep(GROUP_SECONDS)
        self._woken.clear()

    async def record(self, changes: Mapping[str, TargetChange]) -> Recorded:
        """Write the waiting records, and changes of targets by name, which the caller keeps after a DatabaseError."""
        records, self._waiting = self._waiting, Records()
        records.changes = changes
        if records.is_empty():
            return Recorded(records)
        result = None
        try:
            result = await asyncio.shield(self._database.write(self._write, records))
        finally:
            if result is None:
                self._waiting.results[:0] = records.results
                for until, ids in records.given_back.items():
                    self._waiting.give_back(ids, until)
        paused, overtaken, expired = result
        for name, count in expired.items():
            log.warning("delivery.dead", target=name, deliveries=count, error=targets.EXPIRED)
        return Recorded(records, paused, overtaken)

    def _write(self, tx: sa.Connection, records: Records) -> tuple[frozenset[str], frozenset[str], dict[str, int]]:
        """Write everything; return paused and overtaken targets, and how many deliveries expired."""
        if records.results:
            results.record(tx, records.results, self._instance)
        for until, ids in records.given_back.items():
            claims.give_back(tx, ids, self._instance, until)
        now = self._now()
        failed = {each.delivery.target: each.delivery.id for each in records.results if each.error is not None}
        overtaken = targets.record_states(tx, records.changes, now, failed)
        expired = {}
        for name, change in records.changes.items():
            if change.expire_before is not None and name not in overtaken:
                attempted = {each.delivery.incident_id for each in records.results if each.delivery.target == name}
                expired[name] = targets.expire_backlog(tx, name, change.expire_before, attempted, now)
        return targets.paused(tx), overtaken, {name: count for name, count in expired.items() if count}
