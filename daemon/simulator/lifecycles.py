"""Incidents that live by themselves: born at a rate, handled as people handle them, with the usual noise."""

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
    """Invents ``rate`` incidents a minute; the same seed invents the same ones.

    ``pace`` is how much faster than people they are handled: at 1, within minutes.
    """

    def __init__(self, account: Account, *, rate: float, seed: int = 0, pace: float = 1.0) -> None:
        self._account = account
        self._rate = rate
        self._pace = pace
        self._chance = random.Random(f"lifecycles {seed}")
        self._planned: list[tuple[datetime, int, Step]] = []
        self._order = itertools.count()
        self._birth: datetime | None = None
        self.born = 0

    def step(self, now: datetime) -> datetime | None:
        """Let happen what is due by ``now``; answers when something is due again, None for never."""
        if self._rate and self._birth is None:
            self._birth = now
        while self._birth is not None and self._birth <= now:
            self.bear()
            self._birth += timedelta(minutes=self._chance.expovariate(self._rate))
        while self._planned and self._planned[0][0] <= now:
            _, _, happen = heapq.heappop(self._planned)
            try:
                happen()
            except NoSuchIncidentError:
                continue  # somebody else resolved it meanwhile
        due = [each for each in (self._birth, self._planned[0][0] if self._planned else None) if each is not None]
        return min(due, default=None)

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            due = self.step(self._account.log.now())
            wait = LONGEST_SLEEP if due is None else (due - self._account.log.now()).total_seconds()
            await asyncio.sleep(min(max(wait, 0.0), LONGEST_SLEEP))

    def bear(self) -> None:
        """One more incident, with its life planned."""
        self.born += 1
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
        """What happens to an incident, with the seconds before each step."""
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
        """Into the newest other one that is open, if any."""
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
            (10, lambda: account.change(incident_id, by, "snooze")),
            (10, lambda: account.unacknowledge(incident_id)),
            (10, lambda: account.delegate(incident_id, by, [other])),
            (0, lambda: account.acknowledge(incident_id, other)),
            (10, lambda: account.reassign(incident_id, by, [by, other])),
            (10, lambda: account.escalate(incident_id, by)),
            (0, lambda: account.notify(incident_id)),
        ]


def history(account: Account, since: datetime, until: datetime, *, rate: float, seed: int = 0) -> Lifecycles:
    """Let a past happen: incidents at ``rate`` a minute, all of it between the two times."""
    lives = Lifecycles(account, rate=rate, seed=seed)
    moment: datetime | None = since
    while moment is not None and moment < until:
        with account.log.at(moment):
            moment = lives.step(moment)
    return lives
