"""Writing down what became of deliveries, and of targets, in groups: one transaction each.

What cannot be written is kept for the next time. Nothing here decides; it says what was written.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from daemon import errors
from daemon.storage import claims, results, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.delivery.lane import Lane
    from daemon.storage.database import Database

log = structlog.get_logger()

GROUP_SECONDS = 0.02
GROUP_SIZE = 500
NOTE_SECONDS = 1.0
AFTER_FAILURE_SECONDS = 1.0


@dataclass
class Records:
    """What is to be written down. ``given_back`` has deliveries by the time until which they are put off."""

    results: list[results.Result] = field(default_factory=list)
    given_back: dict[datetime | None, list[int]] = field(default_factory=dict)
    notes: list[targets.Note] = field(default_factory=list)

    def give_back(self, ids: Iterable[int], until: datetime | None) -> None:
        """Add deliveries that were not tried."""
        self.given_back.setdefault(until, []).extend(ids)

    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not (self.results or self.given_back or self.notes)


class Recorder:
    """Writes for the daemon ``instance`` what is said to it, and how ``lanes`` do.

    ``recorded`` is told what was written, and which targets are paused.
    """

    def __init__(
        self,
        database: Database,
        instance: str,
        lanes: Mapping[str, Lane],
        now: Callable[[], datetime],
        recorded: Callable[[Records, frozenset[str]], None],
    ) -> None:
        self._database = database
        self._instance = instance
        self._lanes = lanes
        self._now = now
        self._recorded = recorded
        self._waiting = Records()
        self._told = asyncio.Event()
        self._closing = False

    def keep(self, result: results.Result) -> None:
        """Write down an attempt."""
        self._waiting.results.append(result)
        self.wake()

    def give_back(self, ids: Collection[int], until: datetime | None) -> None:
        """Give back what was claimed and not tried."""
        if ids:
            self._waiting.give_back(ids, until)
            self.wake()

    def wake(self) -> None:
        """Say that there is something to write down: a lane has changed, perhaps."""
        self._told.set()

    async def run(self) -> None:
        """Write until ``close`` is called, and then once more."""
        while not self._closing:
            await self._told.wait()
            if len(self._waiting.results) < GROUP_SIZE:
                await asyncio.sleep(GROUP_SECONDS)
            self._told.clear()
            if not await self._has_recorded():
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
                self._told.set()
        await self._has_recorded()

    def close(self) -> None:
        """Let ``run`` end."""
        self._closing = True
        self._told.set()

    async def _has_recorded(self) -> bool:
        try:
            await self._record()
        except errors.DatabaseError as error:
            log.error("delivery.failing", error=str(error))
        except Exception:  # whatever it is: what became of deliveries must not be forgotten
            log.exception("delivery.failing")
        else:
            return True
        return False

    async def _record(self) -> None:
        news = [lane for lane in self._lanes.values() if self._is_noteworthy(lane)]
        records, self._waiting = self._waiting, Records()
        records.notes = [lane.note() for lane in news]
        if records.is_empty():
            return
        for lane in news:
            lane.notes += lane.changed
            lane.changed, lane.saving = False, True
        try:
            paused, expired, overtaken = await asyncio.shield(self._database.write(self._write, records))
        except Exception:
            self._waiting.results[:0] = records.results
            for until, ids in records.given_back.items():
                self._waiting.give_back(ids, until)
            for lane, note in zip(news, records.notes, strict=True):
                lane.changed = lane.changed or note.changed
            raise
        finally:
            for lane in news:
                lane.saving = False
        for note in records.notes:
            self._lanes[note.name].written_down(note, time.monotonic(), overtaken=note.name in overtaken)
        for name, count in expired.items():
            log.warning("delivery.dead", target=name, deliveries=count, error=targets.HOPELESS)
        self._recorded(records, paused)

    def _is_noteworthy(self, lane: Lane) -> bool:
        fresh = lane.success_at is not None
        return lane.changed or (fresh and (self._closing or time.monotonic() - lane.noted > NOTE_SECONDS))

    def _write(self, tx: sa.Connection, records: Records) -> tuple[frozenset[str], dict[str, int], frozenset[str]]:
        """Write everything; answers which targets are paused, what was given up, and whose note was overtaken."""
        if records.results:
            results.record(tx, records.results, self._instance)
        for until, ids in records.given_back.items():
            claims.give_back(tx, ids, self._instance, until)
        now = self._now()
        overtaken = targets.note_targets(tx, records.notes, now)
        expired = {}
        held = [note for note in records.notes if note.name not in overtaken]
        for name, since in ((note.name, note.hopeless) for note in held if note.hopeless is not None):
            tried = {each.delivery.incident_id for each in records.results if each.delivery.target == name}
            expired[name] = targets.expire(tx, name, since, tried, now)
        return targets.paused(tx), {name: count for name, count in expired.items() if count}, overtaken
