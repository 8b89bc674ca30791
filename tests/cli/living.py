"""An invented PagerDuty account and a real daemon that works on it, for commands that need both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from daemon.simulator import Account, Simulator
from tests.cli.conftest import calling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Call

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
TOKEN = "canary-token-of-the-api"
KEY = "canary-key-of-the-account"
CONFIGURATION = """
database: {{url: "{database}"}}
api: {{listen: {listen}, token: {token}}}
connections:
  acme:
    api_key: {key}
    api_url: {pagerduty}
    events_url: {pagerduty}
    limits: {{calls: 100000, poll_interval: 500ms}}
targets:
  ops: {{url: "http://127.0.0.1:1/", secret: whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}}
"""


@dataclass(frozen=True)
class Living:
    """``api`` calls ``pagerelay`` where the daemon's API answers, ``straight`` where the configuration has none."""

    pagerduty: str
    address: str
    folder: Path
    api: Call
    straight: Call

    def happen(self, **what: Any) -> str:
        """Let something happen in the account; answers the incident's id."""
        answer = httpx.post(f"{self.pagerduty}/simulator/happen", json=what).raise_for_status()
        return str(answer.json()["incident_id"])

    def trigger(self, title: str, **what: Any) -> str:
        """A new incident."""
        return self.happen(do="trigger", title=title, **what)


@contextlib.contextmanager
def living(folder: Path, url: str) -> Iterator[Living]:
    """Simulator and daemon, over a database with the current schema."""
    database = url.replace("+psycopg", "")

    def configured(name: str, listen: str) -> Path:
        path = folder / name
        text = CONFIGURATION.format(database=database, listen=listen, token=TOKEN, key=KEY, pagerduty=pagerduty)
        path.write_text(text, encoding="utf-8")
        return path

    with _simulator() as pagerduty, _daemon(configured("daemon.yaml", '"127.0.0.1:0"')) as address:
        through = calling(configured("api.yaml", f'"{address.removeprefix("http://")}"'))
        yield Living(pagerduty, address, folder, through, calling(configured("straight.yaml", "null")))


@contextlib.contextmanager
def _simulator() -> Iterator[str]:
    """An account in a thread of its own; gives its URL."""
    started = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        stop = asyncio.Event()
        async with Simulator([Account(api_key=KEY, seed=7)]).serving() as url:
            found.update(url=url, stop=stop, loop=asyncio.get_running_loop())
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(PATIENCE)


@contextlib.contextmanager
def _daemon(configuration: Path) -> Iterator[str]:
    """A daemon; gives the address of its API."""
    command = [sys.executable, "-m", "daemon", "-c", str(configuration), "run"]
    with (configuration.parent / "daemon.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            while json.loads(line)["event"] != "daemon.started":
                line = process.stderr.readline()
            drain = threading.Thread(target=lambda: log.writelines(process.stderr or []))
            drain.start()
            yield json.loads(line)["api"]
        finally:
            process.terminate()
            process.wait(PATIENCE)
            drain.join(PATIENCE)
            process.stderr.close()
