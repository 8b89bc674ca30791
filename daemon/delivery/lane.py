"""One target's deliveries in this process, and how the target does. Decides what to send next; sends nothing.

A target that fails several times in a row is failing: what was claimed for it goes back, and
one delivery at a time probes it, until one is taken. Then everything is due that waits for it.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import structlog

from daemon.delivery import backoff
from daemon.delivery.rate import Rate
from daemon.model import REFUSALS, Content, Delivery, Message, Order
from daemon.storage import claims, targets
from daemon.storage import due as due_deliveries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from daemon import errors
    from daemon.outbound.sender import Answer, Sender
    from daemon.settings import Target

log = structlog.get_logger()

LIVE = 128
REPLAYED = 32
FAILURES_IN_A_ROW = 3
PATIENCE = timedelta(minutes=10)

Rendered: TypeAlias = "Content | errors.FormatError | str"  # what to send, or why that failed, or can never be
Prepared: TypeAlias = "Rendered | Message"  # a message that takes its time to render is rendered when its turn comes
Item = tuple[Delivery, Prepared]


@dataclass
class Chain:
    """Deliveries that are sent one after the other. ``ids`` has those that were sent, too."""

    incident_id: str
    items: deque[Item]
    ids: set[int]


@dataclass
class Stock:
    """The live, or the replayed, deliveries that a lane holds: ``held`` counts those that are claimed.

    ``size`` is how many are claimed at a time, and after how many there is no room. ``due`` is when
    to claim again, by the loop's clock; ``lines`` has each incident's newest chain, while it lasts.
    ``lettings`` counts how often everything had to be given back, whatever is being sent.
    """

    size: int
    due: float = 0.0
    held: int = 0
    running: int = 0
    lettings: int = 0
    chains: deque[Chain] = field(default_factory=deque)
    lines: dict[str, Chain] = field(default_factory=dict)

    def has_room(self) -> bool:
        """Whether it takes more: what it holds should last until the next claim."""
        return self.held <= self.size

    def take(self, items: deque[Item], after: frozenset[int], order: Order) -> bool:
        """Add deliveries; False: they have to wait for ``after``, which no chain here still has."""
        incident, ids = items[0][0].incident_id, {delivery.id for delivery, _ in items}
        line = self.lines.get(incident)
        if not after:
            chain = Chain(incident, items, ids)
            self.chains.append(chain)
            if order is not Order.NONE:
                self.lines[incident] = chain
        elif line is not None and after <= line.ids:
            line.items.extend(items)
            line.ids |= ids
        else:
            return False
        self.held += len(items)
        return True

    def drop(self, chain: Chain) -> None:
        """Have nothing to do any more with a chain, and with what is left in it."""
        if self.lines.get(chain.incident_id) is chain:
            del self.lines[chain.incident_id]
        self.held -= len(chain.items)


@dataclass
class Lane:
    """One target's lane. Times of the database's clock, except ``hold``, which is the loop's."""

    target: Target
    sender: Sender
    live: Stock = field(default_factory=lambda: Stock(LIVE))
    replayed: Stock = field(default_factory=lambda: Stock(REPLAYED))
    workers: set[asyncio.Task[None]] = field(default_factory=set)
    rendering: asyncio.Lock = field(default_factory=asyncio.Lock)  # so that a target keeps one thread busy at most
    hold: float = 0.0  # until then the target wants no request
    asked_until: datetime | None = None  # the same, by the database's clock
    paused: bool = False
    gone_at: datetime | None = None  # when it said that it wants nothing any more
    failures: int = 0
    failing_since: datetime | None = None
    known: datetime | None = None  # the same, as it was read or written the last time
    error: str | None = None
    probe: int | None = None
    probes: int = 0
    probe_at: datetime | None = None
    probing_since: datetime | None = None  # when this process saw the first probe fail
    hopeless: datetime | None = None  # what began to wait before then need wait no longer
    success_at: datetime | None = None  # and not written down yet
    noted: float = 0.0
    changed: bool = False  # and not written down yet
    notes: int = 0  # how often such a change was about to be written down
    saving: bool = False

    @functools.cached_property
    def rate(self) -> Rate:
        """How often it is asked."""
        return Rate(self.target.rate_limit)

    def stock(self, delivery: Delivery) -> Stock:
        """Where a delivery belongs."""
        return self.replayed if delivery.replayed else self.live

    def is_hungry(self, now: float) -> bool:
        """Whether to claim for it. Not before what all daemons have to know of the target is written down."""
        if self.changed or self.saving or not self.live.has_room():
            return False
        return self.live.due <= now or (self.replayed.due <= now and self.replayed.has_room())

    def due(self, now: float) -> float | None:
        """When to look whether it is hungry; None: somebody will say so when there is room."""
        if self.changed or self.saving:
            return None
        # What is due and has no room wakes us when it has some; what is due later may have room by then.
        roomy = self.live.has_room(), self.live.has_room() and self.replayed.has_room()
        stocks = zip((self.live, self.replayed), roomy, strict=True)
        dues = [stock.due for stock, has_room in stocks if has_room or stock.due > now]
        return min(dues, default=None)

    def wanted(self) -> due_deliveries.Wanted:
        """What to claim for it."""
        return due_deliveries.Wanted(self.target.order, LIVE, REPLAYED if self.replayed.has_room() else 0)

    def startable(self) -> int:
        """How many more chains may be sent at the same time; replayed ones get half of the places at most."""
        replays = min(len(self.replayed.chains), max(self.target.concurrency // 2, 1) - self.replayed.running)
        return min(self.target.concurrency - len(self.workers), len(self.live.chains) + max(replays, 0))

    def next_chain(self) -> tuple[Stock, Chain] | None:
        """What to send now: live deliveries before replayed ones."""
        if self.live.chains:
            return self.live, self.live.chains.popleft()
        if self.replayed.chains and self.replayed.running < max(self.target.concurrency // 2, 1):
            return self.replayed, self.replayed.chains.popleft()
        return None

    def emptied(self, stocks: Sequence[Stock] = ()) -> Iterator[tuple[Stock, Chain]]:
        """Everything that waits here, or in some stocks, and is not being sent, taken out."""
        for stock in stocks or (self.live, self.replayed):
            while stock.chains:
                yield stock, stock.chains.popleft()

    def must_yield(self, stock: Stock) -> bool:
        """Whether what is replayed has the only place that live deliveries could have."""
        return stock is self.replayed and bool(self.live.chains) and self.startable() <= 0

    def is_held(self, now: float) -> bool:
        """Whether nothing more is to be sent of what it has."""
        return self.failing_since is not None or self._wants_nothing(now)

    def may_send(self, delivery: Delivery, now: float) -> bool:
        """Whether this is to be sent now: nothing, or only the probe, may be since it was claimed."""
        return not self._wants_nothing(now) and (self.failing_since is None or delivery.id == self.probe)

    def _wants_nothing(self, now: float) -> bool:
        return self.paused or self.hold > now

    # --- how the target does

    def learn(self, claim: claims.Claim, notes: int, hold: float) -> None:
        """Take over what other daemons, or people, have said of the target.

        ``hold``: until then it wants no request, if it asked for that. Not what a claim says that was asked for
        after ``notes`` and before what is known here since then.
        """
        standing = claim.standing
        if standing is None or self.changed or self.saving or self.notes != notes:
            return
        if standing.paused:
            self.note_paused()
        elif self.paused:
            log.info("target.resumed", target=self.target.name)
            self.paused, self.failures, self.gone_at = False, 0, None
        if standing.failing_since is None and self.failing_since is not None:
            log.info("target.recovered", target=self.target.name, failing_since=self.failing_since)
            self.failures, self.probe_at = 0, None
        self.failing_since = self.known = standing.failing_since
        self.probes = standing.probes
        self.hold, self.asked_until = (0.0, None) if standing.until is None else (hold, standing.until)
        if self.failing_since is None:
            self.probe = None
        elif claim.chains:
            self.probe = claim.chains[0].deliveries[0].id

    def note_success(self, now: datetime) -> None:
        """The target has taken something."""
        self.failures, self.success_at = 0, now
        if self.failing_since is not None:
            log.info("target.recovered", target=self.target.name, failing_since=self.failing_since)
            self.failing_since, self.error, self.probe, self.probes, self.probe_at = None, None, None, 0, None
            self.probing_since, self.changed = None, True
            self.hold, self.asked_until = 0.0, None

    def note_asked(self, at: datetime, hold: float) -> None:
        """The target wants no request until then: for every daemon, and until it is resumed."""
        if self.asked_until is None or at > self.asked_until:
            self.hold, self.asked_until = hold, at
        self.changed = True

    def note_failure(self, delivery: Delivery, answer: Answer, now: datetime, luck: float) -> None:
        """The target has not taken something.

        What is refused for its own sake does not make a target failing, or a few of those would hold up all others.
        """
        if self.failing_since is None and answer.status in REFUSALS:
            return
        self.failures += 1
        if self.failing_since is None and self.failures < FAILURES_IN_A_ROW:
            return
        if self.failing_since is None:
            self.failing_since, self.probes = now, 0
            log.warning("target.failing", target=self.target.name, error=answer.error)
        elif delivery.id == self.probe:
            self.probes, self.probe = self.probes + 1, None
            self.hopeless = self._hopeless(answer, self.failing_since, now)
        else:  # it was on its way before
            return
        self.error, self.changed = answer.error, True
        self.probe_at = now + backoff.probe_pause(self.probes, self.target.retry, luck)

    def _hopeless(self, answer: Answer, failing_since: datetime, now: datetime) -> datetime | None:
        """What began before then need wait no longer: the target has failed as long, a good while of it for us.

        One probe says little if it is the first after days in which no daemon ran, and an answer that refuses one
        message says nothing of others.
        """
        self.probing_since = self.probing_since or now
        horizon = self.target.retry.horizon
        seen_long = now - self.probing_since >= min(horizon, PATIENCE)
        speaks = seen_long and answer.status not in REFUSALS
        return now - horizon if speaks and failing_since <= now - horizon else None

    def forget_probe(self, ids: Collection[int], now: datetime) -> None:
        """What was claimed as a probe was not sent: another may follow at once."""
        if self.probe in ids:
            self.probe, self.probe_at, self.changed = None, now, True

    def note_paused(self) -> None:
        """Somebody has paused the target."""
        if not self.paused:
            log.info("target.paused", target=self.target.name)
        self.paused = True

    def note_gone(self, answer: Answer, now: datetime) -> None:
        """The target wants nothing any more."""
        if self.gone_at is None:
            self.gone_at, self.error, self.paused, self.changed = now, answer.error, True, True
            self.failing_since, self.probe, self.probes, self.probe_at = None, None, 0, None
            log.warning("target.paused", target=self.target.name, reason=answer.error)

    def note(self) -> targets.Note:
        """What is to be written down of it."""
        facts = (
            self.failing_since,
            self.error,
            self.probe_at,
            self.asked_until,
            self.probes,
            self.gone_at,
            self.hopeless,
        )
        return targets.Note(self.target.name, self.success_at, self.changed, *facts, self.known)

    def written_down(self, note: targets.Note, at: float, *, overtaken: bool = False) -> None:
        """A note is safe, or others know better. What happened since then is not: that the target is gone, perhaps."""
        self.noted = at
        if self.success_at == note.success_at:
            self.success_at = None
        if note.changed and not overtaken:
            self.known = note.failing_since
        if self.gone_at == note.paused_at:
            self.gone_at = None
        if self.hopeless == note.hopeless:
            self.hopeless = None
