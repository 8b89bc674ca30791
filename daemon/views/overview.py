"""The status of everything at once: daemons, journal, connections, triggers, targets, replays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import TYPE_CHECKING

import sqlalchemy as sa

import daemon
from daemon.storage.instances import INSTANCE_TTL
from daemon.storage.schema import events, instances
from daemon.views import connection_health, replay_list, rows, target_health, trigger_health
from daemon.views.connection_health import ConnectionStatus  # noqa: TC001 - the API reads the annotations
from daemon.views.replay_list import ReplayItem  # noqa: TC001 - as above
from daemon.views.target_health import TargetStatus  # noqa: TC001 - as above
from daemon.views.trigger_health import TriggerStatus  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.settings import Connection, Target, Trigger


@dataclass(frozen=True, slots=True)
class Instance:
    """A running daemon."""

    id: str
    hostname: str
    version: str
    started_at: datetime
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class Journal:
    """The number of events in the journal, and when the first and the last of them were detected."""

    events: int
    oldest_at: datetime | None
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The status of everything at ``now``. ``replays`` are the unfinished ones."""

    version: str
    database: str
    now: datetime
    instances: tuple[Instance, ...]
    journal: Journal
    connections: tuple[ConnectionStatus, ...]
    triggers: tuple[TriggerStatus, ...]
    targets: tuple[TargetStatus, ...]
    replays: tuple[ReplayItem, ...]


def read(
    tx: sa.Connection,
    connections: Mapping[str, Connection],
    triggers: Mapping[str, Trigger],
    targets: Mapping[str, Target],
    now: datetime,
) -> Overview:
    """Return the status of everything that is configured."""
    return Overview(
        version=daemon.__version__,
        database=tx.dialect.name,
        now=now,
        instances=live_instances(tx, now),
        journal=_journal(tx),
        connections=connection_health.read(tx, connections, triggers.values(), now),
        triggers=trigger_health.read(tx, triggers),
        targets=target_health.read(tx, targets, now),
        replays=replay_list.read_open(tx),
    )


def live_instances(tx: sa.Connection, now: datetime) -> tuple[Instance, ...]:
    """Return the daemons that run, oldest first."""
    live = instances.c.heartbeat_at >= now - INSTANCE_TTL
    query = sa.select(instances).where(live).order_by(instances.c.started_at)
    return tuple(rows.as_value(Instance, row) for row in tx.execute(query))


def _journal(tx: sa.Connection) -> Journal:
    count = tx.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
    oldest = tx.execute(sa.select(sa.func.min(events.c.detected_at))).scalar_one()
    newest = tx.execute(sa.select(sa.func.max(events.c.detected_at))).scalar_one()
    return Journal(int(count), oldest, newest)
