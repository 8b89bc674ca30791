"""The status of everything at once: daemons, journal, connections, triggers, targets, replays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import TYPE_CHECKING

import sqlalchemy as sa

import daemon
from daemon.model import CLOCK_TOLERANCE
from daemon.storage import action_queue, messages, postgres, sqlite
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


MOST_COUNTED = 10_000  # events
_ENDS = tuple(end(column) for column in (events.c.seq, events.c.detected_at) for end in (sa.func.min, sa.func.max))


@dataclass(frozen=True, slots=True)
class Instance:
    """A running daemon. Those with the same configuration have the same ``config_hash``, which reveals no secret.

    ``clock_ahead_seconds`` is how far its clock is ahead of PagerDuty's; negative: behind.
    """

    id: str
    hostname: str
    version: str
    started_at: datetime
    heartbeat_at: datetime
    config_hash: str | None
    clock_ahead_seconds: int | None

    @property
    def clock_problem(self) -> str | None:
        """Return what is wrong with the clock, if it is minutes off."""
        ahead = self.clock_ahead_seconds
        if ahead is None or abs(ahead) < CLOCK_TOLERANCE.total_seconds():
            return None
        direction = "ahead of" if ahead > 0 else "behind"
        return (
            f"the clock of {self.hostname} is {abs(ahead)} s {direction} PagerDuty's"
            " (set it: receivers reject signatures with a wrong time)"
        )


@dataclass(frozen=True, slots=True)
class Journal:
    """The number of events in the journal, and when the first and the last of them were detected.

    A large number is estimated from the events' own numbers, which have few gaps.
    """

    events: int
    oldest_at: datetime | None
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The status of everything at ``now``. ``replays`` are the unfinished ones.

    ``database_problem`` is why daemons cannot write, ``database_warning`` what is weak about the database's version.
    ``lost_instances`` are daemons that ended, or went silent, without a word. ``orphaned_actions`` and
    ``orphaned_deliveries`` count what waits for a connection or target that is not configured, by its name.
    """

    version: str
    database: str
    database_problem: str | None
    database_warning: str | None
    now: datetime
    instances: tuple[Instance, ...]
    lost_instances: tuple[Instance, ...]
    journal: Journal
    connections: tuple[ConnectionStatus, ...]
    triggers: tuple[TriggerStatus, ...]
    targets: tuple[TargetStatus, ...]
    replays: tuple[ReplayItem, ...]
    orphaned_actions: dict[str, int]
    orphaned_deliveries: dict[str, int]


def read(
    tx: sa.Connection,
    connections: Mapping[str, Connection],
    triggers: Mapping[str, Trigger],
    targets: Mapping[str, Target],
    now: datetime,
) -> Overview:
    """Return the status of everything that is configured."""
    is_sqlite = tx.dialect.name == "sqlite"
    live, lost = _instances(tx, now)
    return Overview(
        version=daemon.__version__,
        database=tx.dialect.name,
        database_problem=None if is_sqlite else postgres.read_only_reason(tx),
        database_warning=sqlite.warning() if is_sqlite else None,
        now=now,
        instances=live,
        lost_instances=lost,
        journal=_journal(tx),
        connections=connection_health.read(tx, connections, triggers.values(), now),
        triggers=trigger_health.read(tx, triggers),
        targets=target_health.read(tx, targets, now),
        replays=replay_list.read_open(tx),
        orphaned_actions=action_queue.count_orphaned(tx, connections),
        orphaned_deliveries=messages.count_orphaned(tx, targets),
    )


def live_instances(tx: sa.Connection, now: datetime) -> tuple[Instance, ...]:
    """Return the daemons that run, oldest first."""
    return _instances(tx, now)[0]


def _instances(tx: sa.Connection, now: datetime) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    """Return the daemons that run, and those without a recent heartbeat, oldest first."""
    query = sa.select(instances).order_by(instances.c.started_at)
    all_instances = [rows.as_value(Instance, row) for row in tx.execute(query)]
    live = tuple(each for each in all_instances if each.heartbeat_at >= now - INSTANCE_TTL)
    return live, tuple(each for each in all_instances if each not in live)


def _journal(tx: sa.Connection) -> Journal:
    ends = [sa.select(figure).scalar_subquery() for figure in _ENDS]
    first, last, oldest, newest = tx.execute(sa.select(*ends)).one()
    count = 0 if last is None else last - first + 1
    if count <= MOST_COUNTED:
        count = tx.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
    return Journal(int(count), oldest, newest)
