"""Polls of a fake PagerDuty account, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import SecretStr

from daemon import triggers
from daemon.ingest.poller import Poller
from daemon.ingest.reconcile import Reconcile
from daemon.ingest.sweep import Sweep
from daemon.settings import Limits, Target, Trigger
from daemon.storage import connections, journal, schema
from tests.harness.fake_pagerduty import connection
from tests.harness.receivers import SECRET

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from daemon.storage.database import Database
    from tests.harness.fake_pagerduty import FakePagerDuty

OPS = Target("ops", SecretStr("http://127.0.0.1:9/"), (SecretStr(SECRET),))
ALL = [Trigger(kind.replace(".", "-"), (kind,), "acme", ("ops",)) for kind in triggers.REGISTRY]


class Daemon:
    """The ingest of one connection, run step by step on a manual clock."""

    def __init__(
        self,
        database: Database,
        account: FakePagerDuty,
        triggers: Sequence[Trigger] = ALL,
        *targets: Target,
        instance: str = "one",
        limits: Limits | None = None,
        **more: Any,
    ) -> None:
        self.database, self.account, self.clock = database, account, account.clock
        settings = connection(limits or Limits(calls=100_000), **more)
        client = account.client(database, instance, settings.limits)
        database.write_now(connections.ensure, ["acme"], triggers, self.clock())
        self.woken: list[Collection[str]] = []
        self.poller = Poller(
            database,
            client,
            settings,
            triggers,
            {each.name: each for each in targets or [OPS]},
            instance=instance,
            clock=account.clock,
            wake=self.woken.append,
        )
        self.sweep = Sweep(database, client, settings, account.clock)
        self.reconcile = Reconcile(database, client, settings, account.clock)

    async def poll(self, after: float = 30) -> int:
        """Advance the clock and poll; return how many calls it made."""
        self.clock.advance(after)
        before = len(self.account.requests)
        await self.poller.run()
        return len(self.account.requests) - before

    def journal(self) -> list[str]:
        """Return the journal as incident and kind of event."""
        rows = self.database.read_now(journal.read, "acme", 0, 100_000)
        return [f"{event.incident_id} {event.type.removeprefix('incident.')}" for _, event in rows]

    def sent(self) -> int:
        """Return the number of deliveries."""
        count = sa.select(sa.func.count()).select_from(schema.deliveries)
        return int(self.database.read_now(lambda tx: tx.execute(count).scalar_one()))

    def state(self) -> connections.ConnectionState:
        """Return the connection's row."""
        return self.database.write_now(connections.lock, "acme")
