"""Scenarios with actions: each effect once despite faults and kills, and the budget fully used but never exceeded."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon import actions
from daemon.model import ActionState, Outcome
from daemon.simulator.faults import Fault
from daemon.storage import action_queue, schema
from daemon.storage.database import Database
from tests.endurance import world
from tests.harness.effects import CHANGES

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.model import Action
    from tests.endurance.world import World

Figures = dict[str, Any]
# One write in three fails, before its effect or after it.
FAULTS = {
    "reset_before": 0.08,
    "reset_after": 0.08,
    "server_error_before": 0.07,
    "server_error_after": 0.07,
    "cut_after": 0.03,
}
EFFECTS: dict[str, str | None] = {
    **CHANGES,
    "CreateIncident": "trigger",
    "GetUser": None,
    "GetIncidentByKey": None,
}
ENDED = (ActionState.SUCCEEDED.value, ActionState.FAILED.value)


class ActionClient:
    """A client that queues actions in the database directly and reads their outcomes."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)

    def ask(self, operation: str, **parameters: Any) -> str:
        """Queue an action; return its id."""
        checked = actions.check(actions.REGISTRY[operation], parameters)
        request = action_queue.NewAction(
            checked.operation, "acme", checked.parameters, checked.incident_id, checked.batch_key, checked.secret
        )
        return self.database.write_now(lambda tx: action_queue.accept(tx, request, self.database.now(tx))).id

    def unfinished(self) -> int:
        """Return how many actions have not ended."""
        table = schema.actions
        counting = sa.select(sa.func.count()).select_from(table).where(table.c.state.not_in(ENDED))
        return int(self.database.read_now(lambda tx: tx.execute(counting).scalar_one()))

    def all(self, ids: list[str]) -> list[Action]:
        """Return these actions in their current state."""
        by_id = self.database.read_now(action_queue.load, ids)
        return [by_id[action_id] for action_id in ids]


async def once(folder: Path, url: str, *, count: int, kills: int, seconds: float, seed: int) -> Figures:
    """Run mixed actions while a third of the writes fail and the daemon is killed: each effect happens exactly once."""
    chance = random.Random(seed)
    moments = sorted(chance.uniform(0.1, 0.95) * seconds for _ in range(kills))
    async with world.world(folder, url, seed=seed) as around:
        client = ActionClient(around.database_url)
        around.start()
        await around.baseline()
        around.simulator.faults.set(FAULTS, seed)
        around.simulator.faults.once(*map(Fault, FAULTS))  # so that each happens, however short the run
        expected: Counter[tuple[str, str]] = Counter()
        ids: list[str] = []
        began = time.monotonic()
        for number in range(count):
            await _until_moment(around, moments, began, number * seconds / count)
            ids.append(_ask_something(around, client, chance, expected))
        await _until_moment(around, moments, began, seconds)
        await around.until(lambda: not client.unfinished(), 120 + 4 * seconds)
        around.simulator.faults.clear()
        assert around.stop() == 0
        ended = client.all(ids)
        failed = [each for each in ended if each.state is not ActionState.SUCCEEDED]
        assert not failed, failed[:3]
        effects = Counter((each.incident_id, each.what) for each in around.account.effects)
        expected += _created(around, ended)
        assert effects == expected, (effects - expected, expected - effects)
        reopened = sum(each.reopened for each in around.account.effects)
        assert reopened == 0
        client.database.close()
        return {
            "actions": count,
            "effects": sum(effects.values()),
            "doubled": sum((effects - expected).values()),
            "missing": sum((expected - effects).values()),
            "reopened": reopened,
            "overtaken": sum(each.outcome is Outcome.OVERTAKEN for each in ended),
            "tried_again": sum(each.runs > 1 for each in ended),
            "kills": kills,
        }


async def _until_moment(around: World, moments: list[float], began: float, moment: float) -> None:
    """Wait until ``moment``, and kill the daemon at each of ``moments`` on the way."""
    while moments and moments[0] <= moment:
        await asyncio.sleep(max(began + moments.pop(0) - time.monotonic(), 0))
        around.kill()
        around.start()
    await asyncio.sleep(max(began + moment - time.monotonic(), 0))


def _ask_something(
    around: World, client: ActionClient, chance: random.Random, expected: Counter[tuple[str, str]]
) -> str:
    """Queue an action of any kind on an incident of its own; record the effect that it must have."""
    account = around.account
    operation = chance.choice(list(EFFECTS))
    by, other = chance.sample(account.directory.users, 2)
    incident = account.trigger(f"Incident for {operation}", key=f"key-{chance.getrandbits(64):x}")
    if operation == "SnoozeIncident":
        account.acknowledge(incident.id, by)
    overtaken = operation == "AcknowledgeIncident" and chance.random() < 0.3
    if overtaken:
        account.resolve(incident.id, other)
    effect = EFFECTS[operation]
    if effect is not None and not overtaken and operation != "CreateIncident":
        expected[incident.id, effect] += 1
    policies = account.directory.policies[:2]
    parameters: dict[str, dict[str, Any]] = {
        "ReassignIncident": {"reassignUserId": account.directory.user("erin").id},
        "SnoozeIncident": {"duration": 3600},
        "EscalateIncident": {"policyId": chance.choice(policies).id},
        "AddNoteToIncident": {"note": chance.choice(["Looking into it.", "Restarted."])},
    }
    if operation == "CreateIncident":
        return client.ask(operation, service_key=incident.service.key, description="Disk almost full")
    if operation == "GetIncidentByKey":
        return client.ask(operation, incident_key=incident.key)
    if operation == "GetUser":
        return client.ask(operation, userId=by.id)
    return client.ask(operation, incidentId=incident.id, userId=by.id, **parameters.get(operation, {}))


def _created(around: World, ended: list[Action]) -> Counter[tuple[str, str]]:
    """Return the effects of CreateIncident, one incident each, whose key the result names."""
    by_key = {incident.key: incident.id for incident in around.account.incidents.values()}
    keys = [each.result["incident_key"] for each in ended if each.operation == "CreateIncident" and each.result]
    assert len(set(keys)) == len(keys)
    return Counter((by_key[key], "trigger") for key in keys)


async def flood(folder: Path, url: str, *, count: int, limits: dict[str, Any], seed: int, together: bool) -> Figures:
    """Queue many actions at once; measure calls, duration, and whether polls keep their interval.

    ``together``: acknowledgements, which are sent in batches; otherwise look-ups, one call each.
    """
    async with world.world(folder, url, seed=seed, limits=limits) as around:
        client = ActionClient(around.database_url)
        account = around.account
        around.start()
        await around.baseline()
        incidents = [account.trigger(f"Incident {number}").id for number in range(count if together else 0)]
        by = account.directory.users[0].id
        began = time.time()
        before = len(around.calls)
        if together:
            ids = [client.ask("AcknowledgeIncident", incidentId=each, userId=by) for each in incidents]
        else:
            ids = [client.ask("GetUser", userId=by) for _ in range(count)]
        await around.until(lambda: not client.unfinished(), 1800)
        ended = time.time()
        assert around.stop() == 0
        assert {each.state for each in client.all(ids)} == {ActionState.SUCCEEDED}
        client.database.close()
        times = [call.at.timestamp() for call in around.calls]
        polls = [call.at.timestamp() for call in around.calls if call.path == "/log_entries"]
        span = around.period * 61 / 60
        figures = {
            "actions": count,
            "calls": len(around.calls) - before,
            "seconds": round(ended - began, 1),
            "most_calls_in_a_period": world.most_in(around.period, times),
            "least_calls_in_a_period_and_a_sixtieth": least_in(span, times, began, ended),
            "polls": sum(began <= each <= ended for each in polls),
            "longest_between_polls": _longest_pause(polls, began, ended),
            "poll_interval": limits["poll_interval"],
        }
        assert figures["most_calls_in_a_period"] <= limits["calls"], figures
        return figures


def least_in(seconds: float, times: list[float], began: float, ended: float) -> int | None:
    """Return the fewest calls in any window of that length during the work; None if the work was shorter."""
    times = sorted(times)
    starts = [began, *(each for each in times if began <= each <= ended - seconds)]
    counts = [bisect_right(times, start + seconds) - bisect_right(times, start) for start in starts]
    return min(counts) if ended - began >= seconds else None


def _longest_pause(polls: list[float], began: float, ended: float) -> float:
    inside = [each for each in sorted(polls) if began - 60 <= each <= ended]
    return round(max((later - earlier for earlier, later in itertools.pairwise(inside)), default=0.0), 1)
