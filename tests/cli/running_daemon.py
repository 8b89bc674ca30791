"""A simulated PagerDuty account and a real daemon, for commands that need both."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import queue
import subprocess
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from daemon.simulator import Account, Simulator
from tests.cli import forked
from tests.cli.conftest import calling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Call

PATIENCE = 30.0
TOKEN = "canary-token-of-the-api"
KEY = "canary-key-of-the-account"
CONFIGURATION = """
database: {{url: "{database}"}}
api: {{listen: {listen}, token: {token}}}
connections:
  {name}:
    api_key: {key}
    api_url: {pagerduty}
    events_url: {pagerduty}
    limits: {{calls: 100000, poll_interval: 5s}}
targets:
  ops: {{url: "http://127.0.0.1:1/", secret: whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}}
"""


@dataclass(frozen=True)
class System:
    """``api`` calls ``pagerelay`` with nothing but the daemon's API, ``direct`` with nothing but its database."""

    pagerduty: str
    address: str
    database: str
    configured: Callable[..., Call]
    api: Call
    direct: Call

    def happen(self, **what: Any) -> str:
        """Let something happen in the account; return the incident's id."""
        answer = httpx.post(f"{self.pagerduty}/simulator/happen", json=what).raise_for_status()
        return str(answer.json()["incident_id"])

    def trigger(self, title: str, **what: Any) -> str:
        """Return a new incident."""
        return self.happen(do="trigger", title=title, **what)


@contextlib.contextmanager
def system(folder: Path, url: str) -> Iterator[System]:
    """Simulator and daemon, over a database with the current schema."""
    own = url.replace("+psycopg", "")
    nothing = f"sqlite:///{folder / 'nothing.db'}"

    def written(listen: str, **others: str) -> Path:
        path = folder / f"{uuid.uuid4().hex}.yaml"
        usual = {"database": own, "token": TOKEN, "name": "acme", "key": KEY, "pagerduty": pagerduty}
        path.write_text(CONFIGURATION.format(listen=listen, **usual | others), encoding="utf-8")
        return path

    def configured(*of: str, **others: str) -> Call:
        return calling(written(*of, **others))

    with simulating(Account(api_key=KEY, seed=7)) as pagerduty, running(written("127.0.0.1:0"), folder) as address:
        api = configured(address.removeprefix("http://"), database=nothing)
        yield System(pagerduty, address, url, configured, api, configured("127.0.0.1:1"))


@contextlib.contextmanager
def simulating(account: Account) -> Iterator[str]:
    """Yield an account that is served by a thread of its own; its URL."""
    started: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with Simulator([account]).serving() as url:
            started.put((url, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    url, loop, stop = started.get(timeout=PATIENCE)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)


@contextlib.contextmanager
def running(configuration: Path, folder: Path, **environment: str) -> Iterator[str]:
    """Yield a daemon that works in ``folder``; its API's address. It must exit with 0."""
    command = [forked.pagerelay(), "-c", str(configuration), "run"]
    env = os.environ | environment
    process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        started = next(each for line in process.stderr if (each := json.loads(line))["event"] == "daemon.started")
        rest = threading.Thread(target=process.stderr.read, daemon=True)  # or the pipe would fill up
        rest.start()
        yield started["api"]
        process.terminate()
        assert process.wait(PATIENCE) == 0
        rest.join(PATIENCE)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def losing_answers(address: str) -> Iterator[tuple[str, list[int]]]:
    """Yield a way to the daemon on which every answer is lost; its address, and the statuses of the answers."""
    taken: list[int] = []

    class Lossy(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            names = ("authorization", "content-type", "idempotency-key")
            headers = {name: self.headers[name] for name in names}
            path = self.path.partition("?")[0]
            taken.append(httpx.post(f"{address}{path}", content=body, headers=headers).status_code)

    with http.server.HTTPServer(("127.0.0.1", 0), Lossy) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", taken
        server.shutdown()
        thread.join(PATIENCE)
