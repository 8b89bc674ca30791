"""The buffer of one target's claimed deliveries: what to claim, and what to send next. Sends and stores nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from daemon.model import Delivery, Order
from daemon.storage.due import ClaimRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daemon.delivery.contents import Renderable
    from daemon.settings import Target

LIVE = 256
FIRST = 32
REPLAYED = 32


class Claimed(NamedTuple):
    """A claimed delivery and what is sent for it."""

    delivery: Delivery
    content: Renderable


@dataclass
class IncidentRun:
    """Deliveries of one incident, sent one after the other. ``ids`` keeps those that were sent."""

    incident_id: str
    items: deque[Claimed]
    ids: set[int]


@dataclass
class Buffer:
    """A lane's live or replayed deliveries.

    ``size`` is how many are claimed at a time, ``held`` how many are here or in flight. ``due`` is when to claim
    again, by the loop's clock. ``tails`` has the last run of each incident; ``generation`` counts the releases of
    all deliveries that are not in flight.
    """

    size: int
    due: float = 0.0
    held: int = 0
    running: int = 0
    generation: int = 0
    runs: deque[IncidentRun] = field(default_factory=deque)
    tails: dict[str, IncidentRun] = field(default_factory=dict)

    def has_room(self) -> bool:
        """Return whether to claim more: the held deliveries should last until the next claim."""
        return self.held <= self.size

    def take(self, items: deque[Claimed], after: frozenset[int], order: Order) -> bool:
        """Add deliveries; return False if they must wait for ``after``, which no run here contains."""
        incident, ids = items[0].delivery.incident_id, {each.delivery.id for each in items}
        tail = self.tails.get(incident)
        if not after:
            run = IncidentRun(incident, items, ids)
            self.runs.append(run)
            if order is not Order.NONE:
                self.tails[incident] = run
        elif tail is not None and after <= tail.ids:
            tail.items.extend(items)
            tail.ids |= ids
        else:
            return False
        self.held += len(items)
        return True

    def look_again(self, at: float) -> bool:
        """Claim again at that time, if not earlier; return whether that changes anything."""
        is_earlier = at < self.due
        self.due = min(at, self.due)
        return is_earlier

    def begin(self) -> IncidentRun:
        """Take out the next run in order to send it."""
        self.running += 1
        return self.runs.popleft()

    def sent_first(self, run: IncidentRun) -> None:
        """Remove the first delivery of a run: an attempt was made."""
        run.items.popleft()
        self.held -= 1

    def postpone(self, run: IncidentRun) -> None:
        """Put a run back to the front, to send the rest of it later."""
        self.running -= 1
        self.runs.appendleft(run)

    def end(self, run: IncidentRun) -> None:
        """Drop a run that was begun, and its remaining deliveries."""
        self.running -= 1
        self._drop(run)

    def drain(self) -> Iterator[IncidentRun]:
        """Take out all runs that are not begun."""
        while self.runs:
            run = self.runs.popleft()
            self._drop(run)
            yield run

    def release(self) -> Iterator[IncidentRun]:
        """Take out all runs that are not begun, and end the others after their current attempt."""
        self.generation += 1
        yield from self.drain()

    def _drop(self, run: IncidentRun) -> None:
        if self.tails.get(run.incident_id) is run:
            del self.tails[run.incident_id]
        self.held -= len(run.items)


class Lane:
    """The live and the replayed deliveries of one target. Times are the loop's."""

    def __init__(self, target: Target) -> None:
        self._order = target.order
        self._concurrency = target.concurrency
        self._most_replayed = max(target.concurrency // 2, 1)
        self._size = FIRST
        self.live = Buffer(LIVE)
        self.replayed = Buffer(REPLAYED)

    def wants_claim(self, now: float) -> bool:
        """Return whether there is room, and something may be due."""
        if not self.live.has_room():
            return False
        return self.live.due <= now or (self.replayed.due <= now and self.replayed.has_room())

    def due(self, now: float) -> float | None:
        """Return when to ask ``wants_claim`` again; None: when there is room."""
        # One that is due and full wakes the loop when it has room; one that is due later may have room by then.
        has_room = self.live.has_room(), self.live.has_room() and self.replayed.has_room()
        buffers = zip((self.live, self.replayed), has_room, strict=True)
        return min((each.due for each, roomy in buffers if roomy or each.due > now), default=None)

    def look_again(self, at: float) -> bool:
        """Claim again at that time, if not earlier; return whether that changes anything."""
        return any([self.live.look_again(at), self.replayed.look_again(at)])

    def claiming(self, until: float) -> None:
        """Claim no more before ``until``, unless something makes it due earlier."""
        self.live.due = self.replayed.due = until

    def request(self) -> ClaimRequest:
        """Return what to claim now, once per claim: little for an idle target, which gets its first delivery soon.

        Then it is twice as much each time, up to ``LIVE``.
        """
        self._size = min(2 * self._size, LIVE) if self.live.held else FIRST
        return ClaimRequest(self._order, self._size, REPLAYED if self.replayed.has_room() else 0)

    def take(self, items: deque[Claimed], after: frozenset[int]) -> bool:
        """Add deliveries of one incident; return False if they must wait for ``after``, which is no longer here."""
        buffer = self.replayed if items[0].delivery.replayed else self.live
        return buffer.take(items, after, self._order)

    def startable(self, workers: int) -> int:
        """Return how many more runs may be started beside ``workers``; replays get at most half of the slots."""
        replays = min(len(self.replayed.runs), self._most_replayed - self.replayed.running)
        return min(self._concurrency - workers, len(self.live.runs) + max(replays, 0))

    def next(self) -> tuple[Buffer, IncidentRun] | None:
        """Take out the run to send now: live deliveries before replayed ones."""
        if self.live.runs:
            return self.live, self.live.begin()
        if self.replayed.runs and self.replayed.running < self._most_replayed:
            return self.replayed, self.replayed.begin()
        return None

    def must_yield(self, buffer: Buffer, workers: int) -> bool:
        """Return whether a replay occupies the only slot that live deliveries could get."""
        return buffer is self.replayed and bool(self.live.runs) and self.startable(workers) <= 0

    def drain(self) -> Sequence[IncidentRun]:
        """Take out all runs that are not begun."""
        return [*self.live.drain(), *self.replayed.drain()]

    def release_replays(self) -> Sequence[IncidentRun]:
        """Take out all replayed runs that are not begun, and end the others after their current attempt."""
        return list(self.replayed.release())
