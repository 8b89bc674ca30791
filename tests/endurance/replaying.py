"""A replay while the daemon is killed repeatedly and new incidents happen: everything arrives, new events first."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon.model import ReplayState
from daemon.storage import replays, schema, sql
from daemon.storage.database import Database
from daemon.views import replay_list
from tests.endurance import world
from tests.endurance.failing_receivers import detected
from tests.endurance.scenarios import PACE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.endurance.world import World

Figures = dict[str, Any]
HOUR = timedelta(hours=1)
OF_ONE_INCIDENT = 5
TARGET = "target-0"


async def replay(
    folder: Path, url: str, *, count: int, kills: int, incidents: int, seconds: float, seed: int, pace: float = PACE
) -> Figures:
    """Replay ``count`` deliveries, every tenth of them dead, through ``kills`` times ``kill -9``."""
    async with world.world(folder, url, seed=seed) as around:
        database = Database(around.database_url)
        database.write_now(_fill, database, count)
        replay_id = database.write_now(_create, database)
        around.start()
        await around.baseline()
        began = time.monotonic()
        lifecycles = asyncio.create_task(world.live(around.account, incidents, seconds, seed, pace))
        for kill in range(kills):
            await around.until(functools.partial(_came, around, count * (kill + 1) // (kills + 1)))
            around.kill()
            around.start()
        await around.until(lambda: _of(database, replay_id).finished_at is not None, 60 + count / 50)
        took = time.monotonic() - began
        await lifecycles
        await around.until(around.all_arrived, 60)
        assert around.stop() == 0
        figures = _figures(around, count) | {"kills": kills, "seconds": round(took, 1)}
        item = _of(database, replay_id)
        result = item.state, item.total, item.taken, item.delivered, item.dead, item.skipped
        assert result == (ReplayState.FINISHED, count, count, count, 0, 0), item
        assert (figures["forgotten"], figures["out_of_order"], figures["bodies_differ"]) == (0, 0, 0), figures
        database.close()
        return figures


def _fill(tx: sa.Connection, database: Database, count: int) -> None:
    """Insert deliveries that ended an hour ago, several of each incident."""
    then = database.now(tx) - HOUR
    payload: dict[str, Any] = {"agent": None, "incident": {}, "assignees": None, "note": None, "log_entry": None}
    each = range(1, count + 1)
    of_event = {"connection": "acme", "type": "incident.triggered", "detected_by": "log_entry"}
    of_event |= {"payload": orjson.dumps(payload).decode()}
    times = {"occurred_at": then, "detected_at": then}
    events = [{"id": f"evt_{n}", "incident_id": _incident(n)} | of_event | times for n in each]
    of_message = {"trigger": "triggered", "type": "incident.triggered", "created_at": then}
    ended = {"target": TARGET, "attempts": 1, "created_at": then, "next_attempt_at": then, "finished_at": then}
    deliveries = [
        {"message_id": f"msg_{n}", "incident_id": _incident(n), "state": "delivered" if n % 10 else "dead"} | ended
        for n in each
    ]
    sql.insert_rows(tx, schema.events, events)
    seqs = {row.id: row.seq for row in tx.execute(sa.select(schema.events.c.id, schema.events.c.seq))}
    sql.insert_rows(tx, schema.messages, [{"id": f"msg_{n}", "event_seq": seqs[f"evt_{n}"]} | of_message for n in each])
    sql.insert_rows(tx, schema.deliveries, deliveries)


def _incident(number: int) -> str:
    return f"POLD{number // OF_ONE_INCIDENT}"


def _create(tx: sa.Connection, database: Database) -> int:
    now = database.now(tx)
    return replays.create(tx, replays.ReplayFilter(now - 2 * HOUR, now), [TARGET], now)


def _of(database: Database, replay_id: int) -> replay_list.ReplayItem:
    item = database.read_now(replay_list.find, replay_id)
    assert item is not None
    return item


def _number(message_id: str) -> int | None:
    """Return the position of a replayed message; None for a new one."""
    number = message_id.removeprefix("msg_")
    return int(number) if len(number) < 10 else None


def _came(around: World, enough: int) -> bool:
    return sum(_number(each) is not None for each in around.accepted(TARGET)) >= enough


def _figures(around: World, count: int) -> Figures:
    accepted = around.receivers[TARGET].accepted
    numbers = [number for each in accepted if (number := _number(each.id)) is not None]
    first = list(dict.fromkeys(numbers))
    by_incident: dict[str, list[int]] = defaultdict(list)
    for number in first:
        by_incident[_incident(number)].append(number)
    bodies = {(each.id, each.body) for each in accepted}
    delays = sorted(each.at - detected(each) for each in accepted if _number(each.id) is None)
    return {
        "deliveries": count,
        "forgotten": len(set(range(1, count + 1)) - set(first)),
        "repeats": len(numbers) - len(first),
        "out_of_order": sum(places != sorted(places) for places in by_incident.values()),
        "bodies_differ": len(bodies) - len({message_id for message_id, _ in bodies}),
        "new": len(delays),
        "new_median_ms": round(1000 * delays[len(delays) // 2]) if delays else None,
        "most_a_second": _most_a_second([each.at for each in accepted]),
    }


def _most_a_second(times: list[float]) -> int:
    return max(len(list(group)) for _, group in itertools.groupby(sorted(map(int, times))))
