"""Actions over HTTP: the API in this process, a queue, an account, and an executor that a test may start."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from daemon import api, config, pagerduty
from daemon.actions.executor import Executor
from daemon.api import Services, Waiting
from daemon.pagerduty.permits import Permits
from daemon.simulator import Account, Simulator
from daemon.storage import connections, instances, schema
from tests.api.client import client_of
from tests.harness import sample_data
from tests.harness.shared_application import application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import httpx
    import sqlalchemy as sa
    from fastapi import FastAPI

    from daemon.model import Json
    from daemon.settings import Settings
    from daemon.simulator.incident import Incident
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

PATIENCE = 30.0
CONFIGURATION = """
database: {{url: "{database}"}}
api: {{listen: "127.0.0.1:0", token: {token}}}
connections:
  acme:
    api_key: {key}
    api_url: "{url}"
    events_url: "{url}"
    limits: {{calls: 1000, period: 60s, poll_interval: 1s}}
targets:
  ops: {{url: "http://127.0.0.1:1/", secret: {secret}}}
  chat: {{url: "http://127.0.0.1:1/", secret: {secret}}}
  v3: {{url: "http://127.0.0.1:1/", secret: {secret}, format: pagerduty-v3}}
actions: {{notify: [ops]}}
"""


@dataclass
class ActionApi:
    """The API with what a request for an action needs. ``woken`` are the connections whose executor was woken."""

    account: Account
    simulator: Simulator
    database: Database
    settings: Settings
    app: FastAPI
    http: httpx.AsyncClient
    work: Services
    executor: Executor
    woken: list[str] = field(default_factory=list)

    async def ask(self, operation: str = "ResolveIncident", *, key: str | None = None, **more: Any) -> httpx.Response:
        """Ask for an action; ``more`` are its parameters, or ``wait``, ``notify`` and ``connection``."""
        body: dict[str, Any] = {name: more.pop(name) for name in ("notify", "connection") if name in more}
        query = {"wait": more.pop("wait")} if "wait" in more else {}
        body["parameters"] = more or {"incidentId": "P1", "userId": self.alice}
        headers = {} if key is None else {"idempotency-key": key}
        return await self.http.post(f"/v1/actions/{operation}", json=body, params=query, headers=headers)

    def incident(self) -> Incident:
        """Return a new incident."""
        return self.account.trigger("Disk almost full", service=self.account.directory.services[0])

    @property
    def alice(self) -> str:
        """Return a user's id."""
        return self.account.directory.user("alice").id

    @contextlib.asynccontextmanager
    async def executing(self) -> AsyncIterator[None]:
        """Carry actions out while inside."""
        running = asyncio.create_task(self.executor.run())
        try:
            yield
        finally:
            await self.executor.stop(timedelta(seconds=5))
            await running

    async def queued(self) -> list[Json]:
        """Return the actions, as the API lists them."""
        items: list[Json] = (await self.http.get("/v1/actions")).json()["items"]
        return items

    def raw(self) -> str:
        """Everything that the table of actions holds."""
        return self.database.read_now(lambda tx: repr(tx.execute(schema.actions.select()).all()))


@contextlib.asynccontextmanager
async def opened(
    database: Database,
    clock: ManualClock,
    folder: Path,
    *,
    wake: Callable[[str], None] | None = None,
    waiting: Waiting | None = None,
    patience: timedelta = timedelta(seconds=PATIENCE),
    settle: Callable[[Settings], Settings] = lambda settings: settings,
) -> AsyncIterator[ActionApi]:
    """Yield an ActionApi. ``settle`` may change its settings."""
    account = Account(clock=clock, seed=4)
    simulator = Simulator([account], limit=10**9)
    async with simulator.serving() as url:
        settings = settle(written(folder, str(database.url), url, account.api_key))
        connection = settings.connections["acme"]

        def prepare(tx: sa.Connection) -> None:
            connections.ensure(tx, ["acme"], (), clock())
            instances.register(tx, "one", "host", "0", clock())

        database.write_now(prepare)
        permits = Permits(database, "acme", connection.limits, "one")
        client = pagerduty.Client(connection, permits)
        waiting = waiting or Waiting()
        executor = Executor(database, client, "acme", "one", clock=clock, on_progress=waiting.notify)
        woken: list[str] = []

        def woke(name: str) -> None:
            woken.append(name)
            executor.wake()

        work = Services({"acme": client}, wake or woke, waiting, patience)
        app = application(database, api.Current(settings, work))
        async with client_of(app) as http:
            yield ActionApi(account, simulator, database, settings, app, http, work, executor, woken)
        await client.close()


def written(folder: Path, database: str, url: str, key: str) -> Settings:
    """Return the configuration, written and loaded."""
    path = folder / "config.yaml"
    names = {"database": database.replace("+psycopg", ""), "url": url, "key": key}
    path.write_text(CONFIGURATION.format(token=sample_data.TOKEN, secret=sample_data.SECRET, **names))
    return config.load(path, os.environ)
