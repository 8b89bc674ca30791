"""Incidents with lifecycles of their own: created at a rate, handled as people do, with the usual noise."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.simulator.account import NoSuchIncidentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from daemon.simulator.account import Account
    from daemon.simulator.directory import User

    Step = Callable[[], object]

TITLES = (
    "Disk almost full on db-1",
    "Checkout answers with 502",
    "Certificate expires in 3 days",
    "Queue of invoices keeps growing",
    "Login takes more than 2 s",
    "Replica lags behind by 10 minutes",
    "No heartbeat from node-7",
)
NOTES = (
    "Looking into it.",
    "Restarted the worker, watching.",
    "Same as last week: see the runbook.",
    "Größe geprüft, Platz ist wieder frei ✓",
)
LAST_NOTES = (
    "Space is back.",
    "Rolled back to the release of yesterday.",
    "False alarm: the check was too strict.",
)
FIELDS = (("environment", "production"), ("affected_rooms", ["Oslo", "Lima"]), ("serial_number", 4711))
LONGEST_SLEEP = 1.0


class Lifecycles:
    """Creates ``rate`` incidents a minute; the same seed creates the same ones.

    ``pace`` is how much faster than by people they are handled: at 1, within minutes.
    """

    def __init__(self, account: Account, *, rate: float, seed: int = 0, pace: float = 1.0) -> None:
        self._account = account
        self._rate = rate
        self._pace = pace
        self._chance = random.Random(f"lifecycles {seed}")
        self._planned: list[tuple[datetime, int, Step]] = []
        self._order = itertools.count()
        self._next_creation: datetime | None = None
        self.created = 0

    def step(self, now: datetime) -> datetime | None:
        """Run the steps that are due by ``now``; return when the next one is due, None for never."""
        if self._rate and self._next_creation is None:
            self._next_creation = now
        while self._next_creation is not None and self._next_creation <= now:
            self.create()
            self._next_creation += timedelta(minutes=self._chance.expovariate(self._rate))
        while self._planned and self._planned[0][0] <= now:
            _, _, happen = heapq.heappop(self._planned)
            try:
                happen()
            except NoSuchIncidentError:
                continue  # a client has resolved it meanwhile
        due = [
            each for each in (self._next_creation, self._planned[0][0] if self._planned else None) if each is not None
        ]
        return min(due, default=None)

    async def run(self) -> None:
        """Run steps by the real clock until cancelled."""
        while True:
            due = self.step(self._account.log.now())
            wait = LONGEST_SLEEP if due is None else (due - self._account.log.now()).total_seconds()
            await asyncio.sleep(min(max(wait, 0.0), LONGEST_SLEEP))

    def create(self) -> None:
        """Create one more incident and plan its lifecycle."""
        self.created += 1
        account, chance = self._account, self._chance
        title, urgency = chance.choice(TITLES), chance.choice(["high", "high", "low"])
        somebody = chance.choice(account.directory.users)
        if chance.random() < 0.2:  # noqa: PLR2004 - a chance
            incident = account.open(title, somebody, urgency=urgency)
        else:
            incident = account.trigger(title, urgency=urgency)
        account.notify(incident.id)
        at = account.log.now()
        for pause, happen in self._life(incident.id):
            at += timedelta(seconds=pause * chance.uniform(0.5, 1.5) / self._pace)
            heapq.heappush(self._planned, (at, next(self._order), happen))

    def _life(self, incident_id: str) -> list[tuple[float, Step]]:
        """Return the steps of an incident, each with the seconds before it."""
        account, chance = self._account, self._chance
        by, other = chance.sample(account.directory.users, 2)
        steps: list[tuple[float, Step]] = []
        if chance.random() < 0.25:  # noqa: PLR2004 - a chance
            steps.append((5, lambda: account.retrigger(incident_id)))
        if chance.random() < 0.3:  # noqa: PLR2004 - a chance
            steps.append((20, lambda: account.escalate(incident_id)))
            steps.append((0, lambda: account.notify(incident_id)))
        if chance.random() < 0.1:  # noqa: PLR2004 - a chance
            steps.append((20, lambda: account.change(incident_id, by, "repeat_escalation")))
            steps.append((20, lambda: account.change(incident_id, by, "exhaust_escalation")))
        steps.append((15, lambda: account.acknowledge(incident_id, by)))
        steps += [step for step in self._detours(incident_id, by, other) if chance.random() < 0.3]  # noqa: PLR2004
        note = chance.choice([None, None, chance.choice(LAST_NOTES)])
        who = chance.choice([by, by, None])
        if chance.random() < 0.1:  # noqa: PLR2004 - a chance
            steps.append((20, lambda: self._merge(incident_id, by)))
        steps.append((20, lambda: account.resolve(incident_id, who, note if who else None)))
        if chance.random() < 0.1:  # noqa: PLR2004 - a chance
            steps.append((10, lambda: account.reopen(incident_id, other)))
            steps.append((10, lambda: account.resolve(incident_id, other)))
        if chance.random() < 0.1:  # noqa: PLR2004 - a chance
            steps.append((10, lambda: account.annotate(incident_id, by, "Post-mortem is written.")))
        return steps

    def _merge(self, incident_id: str, by: User) -> None:
        """Merge the incident into the newest other open one, if there is one."""
        others = [each.id for each in self._account.incidents.values() if each.is_open and each.id != incident_id]
        if others:
            self._account.merge(incident_id, others[-1], by)

    def _detours(self, incident_id: str, by: User, other: User) -> list[tuple[float, Step]]:
        account = self._account
        text = self._chance.choice(NOTES)
        title, (name, value) = self._chance.choice(TITLES), self._chance.choice(FIELDS)
        return [
            (10, lambda: account.annotate(incident_id, by, text)),
            (5, lambda: account.change(incident_id, by, "change_urgency")),
            (0, lambda: account.change(incident_id, by, "change_priority")),
            (0, lambda: account.change(incident_id, by, "change_field", name=name, value=value)),
            (5, lambda: account.change(incident_id, by, "retitle", title=title)),
            (5, lambda: account.noise(incident_id)),
            (5, lambda: account.change(incident_id, by, "publish_status_update")),
            (10, lambda: account.change(incident_id, by, "snooze")),
            (10, lambda: account.unacknowledge(incident_id)),
            (10, lambda: account.delegate(incident_id, by, [other])),
            (0, lambda: account.acknowledge(incident_id, other)),
            (10, lambda: account.reassign(incident_id, by, [by, other])),
            (10, lambda: account.escalate(incident_id, by)),
            (0, lambda: account.notify(incident_id)),
        ]


def history(account: Account, since: datetime, until: datetime, *, rate: float, seed: int = 0) -> Lifecycles:
    """Simulate a past: incidents at ``rate`` a minute between the two times."""
    lives = Lifecycles(account, rate=rate, seed=seed)
    moment: datetime | None = since
    while moment is not None and moment < until:
        with account.log.at(moment):
            moment = lives.step(moment)
    return lives
