"""An account, a receiver over TLS, a database and a daemon in it: all is well, until a test breaks one thing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import daemon
from daemon import config
from daemon.control import doctor
from daemon.control.doctor import Examination, Status
from daemon.settings import fingerprint
from daemon.simulator import Account, Simulator
from daemon.storage import connections, instances, schema
from daemon.storage.database import Database, system_clock
from tests.harness.receivers import SECRET, Receiver

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    import sqlalchemy as sa

    from daemon.control.doctor import Finding
    from daemon.settings import Settings

KEY = "canary-key-of-the-account"
TOKEN = "canary-token-of-the-api"
CONFIGURATION = """
database: {{url: "{database}"}}
api: {{listen: "127.0.0.1:0", token: {token}}}
connections:
  acme: {{api_key: {key}, api_url: "{pagerduty}", limits: {{calls: 30}}}}
targets:
  ops: {{url: "{receiver}", secret: {secret}, tls: {{ca: "{ca}"}}}}
triggers:
  all: {{on: incident.*, connection: acme, to: [ops]}}
"""


@dataclass
class World:
    """What ``doctor`` looks at. ``more`` are arguments of the examination."""

    settings: Settings
    url: str
    folder: Path
    account: Account
    simulator: Simulator
    receiver: Receiver
    more: dict[str, Any] = field(default_factory=dict)

    def change_target(self, **values: Any) -> None:
        """Change the configuration of the target, for the daemon as well."""
        targets = {"ops": dataclasses.replace(self.settings.targets["ops"], **values)}
        self.change(targets=targets)

    def change_connection(self, **values: Any) -> None:
        """Change the configuration of the connection, for the daemon as well."""
        self.change(connections={"acme": dataclasses.replace(self.settings.connections["acme"], **values)})

    def change(self, **values: Any) -> None:
        """Change the configuration, for the daemon as well."""
        self.settings = dataclasses.replace(self.settings, **values)
        self.write(lambda tx: tx.execute(schema.instances.update().values(config_hash=fingerprint(self.settings))))

    def write(self, function: Any) -> None:
        """Change the database."""
        database = Database(self.url)
        database.write_now(function)
        database.close()

    async def examine(self, **more: Any) -> list[Finding]:
        """Return the findings."""
        database = Database(self.url)
        try:
            return list((await doctor.examine(Examination(self.settings, database, **self.more | more))).checks)
        finally:
            database.close()

    async def problems(self, **more: Any) -> list[Finding]:
        """Return the findings that are not ok."""
        return [each for each in await self.examine(**more) if each.status is not Status.OK]


@contextlib.asynccontextmanager
async def existing(folder: Path, url: str, tls: ssl.SSLContext, ca: str) -> AsyncIterator[World]:
    """Yield a world in which all is well."""
    account, receiver = Account(api_key=KEY, seed=7), Receiver()
    account.trigger("Disk almost full", service=account.directory.services[0])
    simulator = Simulator([account])
    (folder / "ca.pem").write_text(ca)
    async with simulator.serving() as pagerduty, receiver.serving(tls=tls) as receiving:
        values = {"database": url.replace("+psycopg", ""), "token": TOKEN, "key": KEY, "secret": SECRET}
        values |= {"pagerduty": pagerduty, "receiver": receiving, "ca": str(folder / "ca.pem")}
        path = folder / "config.yaml"
        path.write_text(CONFIGURATION.format(**values))
        settings = config.load(path, os.environ)
        world = World(settings, url, folder, account, simulator, receiver)
        world.write(lambda tx: _start(tx, settings))
        yield world


def _start(tx: sa.Connection, settings: Settings) -> None:
    """Let a daemon have started a while ago, and have polled just now."""
    now = system_clock()
    instances.register(tx, "one", "db1", daemon.__version__, now, fingerprint(settings))
    tx.execute(schema.instances.update().values(started_at=now - timedelta(hours=3)))
    connections.ensure(tx, settings.connections, settings.triggers.values(), now)
    tx.execute(schema.connections.update().values(last_poll_at=now, last_success_at=now))
