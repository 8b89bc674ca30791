"""Reading the configuration again while the daemon runs: everything takes effect, or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry

from daemon import app, config
from daemon.app import generation
from daemon.control import Waiting
from daemon.control.changes import Changes
from daemon.ingest.poller import Poller
from daemon.ingest.sweep import Sweep
from daemon.ingest.window_length import FEW_CALLS
from daemon.settings import Limits
from daemon.simulator import Account, Simulator
from daemon.storage import schema
from daemon.storage.database import Database
from tests.harness.eventually import eventually
from tests.harness.fake_pagerduty import connection
from tests.harness.receivers import SECRET, Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from daemon.simulator.http import SimRequest, SimResponse

FILE = """
database: {{url: "{database}"}}
api: {{listen: "127.0.0.1:{port}", token: {token}}}
connections: {{acme: {{api_key: {key}, api_url: "{account}", limits: {{calls: 100000, poll_interval: 150ms}}}}}}
targets: {{{targets}}}
triggers: {{new: {{on: incident.triggered, every: 150ms, to: [{to}]}}}}
"""
TOKEN, NEW_TOKEN = "canary-token-one", "canary-token-two"


class Gated(Simulator):
    """A simulator that holds back the log while its ``gate`` is closed; ``waiting`` counts the requests held back."""

    def __init__(self, account: Account) -> None:
        super().__init__([account], limit=10**9)
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def answer(self, request: SimRequest) -> SimResponse:
        """Return the response, for the log once the gate is open."""
        if request.path == "/log_entries" and not self.gate.is_set():
            self.waiting += 1
            await self.gate.wait()
        return await super().answer(request)


@dataclass
class House:
    """A running daemon with its file, an account, and the receivers ``one`` and ``two``."""

    file: Path
    account: Account
    simulator: Gated
    receivers: dict[str, Receiver]
    values: dict[str, Any]
    http: httpx.AsyncClient
    database: Database

    def write(self, names: tuple[str, ...] = ("one",), more: str = "", **values: Any) -> None:
        """Write the file with these targets."""
        self.file.write_text(text_of(self.values | values, names) + more)

    async def reload(self, token: str = TOKEN, **query: str) -> httpx.Response:
        """Ask for a reload."""
        headers = {"authorization": f"Bearer {token}"}
        return await self.http.post("/v1/reload", params=query, headers=headers)

    async def metric(self, name: str) -> float:
        """Return a metric without labels."""
        lines = (await self.http.get("/metrics")).text.splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    async def trigger(self, *receivers: str) -> None:
        """Let an incident be triggered, and wait until exactly these receivers have it."""
        before = {name: len(each.got) for name, each in self.receivers.items()}
        self.account.trigger("Disk almost full")
        for name in receivers:
            await eventually(functools.partial(self._has_more, name, before[name]))
        for name in self.receivers.keys() - set(receivers):
            assert len(self.receivers[name].got) == before[name]

    def _has_more(self, name: str, than: int) -> bool:
        return len(self.receivers[name].got) > than


def text_of(values: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the file's text."""
    targets = ", ".join(f'{name}: {{url: "{values[name]}", secret: {SECRET}}}' for name in names)
    return FILE.format(**values, targets=targets, to=", ".join(names))


@contextlib.asynccontextmanager
async def living(folder: Path, database_url: str) -> AsyncIterator[House]:
    """Run a daemon that has polled once."""
    account = Account(seed=4)
    receivers = {name: Receiver() for name in ("one", "two")}
    async with contextlib.AsyncExitStack() as stack:
        simulator = Gated(account)
        url = await stack.enter_async_context(simulator.serving())
        urls = {name: await stack.enter_async_context(each.serving()) for name, each in receivers.items()}
        database_text = database_url.replace("+psycopg", "")
        values = {"database": database_text, "port": 0, "token": TOKEN, "key": account.api_key, "account": url, **urls}
        file = folder / "config.yaml"
        file.write_text(text_of(values, ("one",)))
        stop, addresses = asyncio.Event(), list[str | None]()
        running = asyncio.create_task(app.run(config.read(file, {}), ready=addresses.append, stop=stop))
        await eventually(lambda: addresses or running.done())
        database = Database(database_url)
        try:
            query = sa.select(schema.connections.c.last_success_at)
            await eventually(lambda: database.read_now(lambda tx: tx.execute(query).scalar()) is not None)
            async with httpx.AsyncClient(base_url=addresses[0] or "", trust_env=False, timeout=30) as http:
                yield House(file, account, simulator, receivers, values, http, database)
        finally:
            database.close()
            stop.set()
            await running


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """Return a new SQLite database, for what does not depend on the database."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'pagerelay.db')}"


@pytest.fixture
async def house(tmp_path: Path, sqlite_url: str) -> AsyncIterator[House]:
    """Run a daemon on SQLite."""
    async with living(tmp_path, sqlite_url) as opened:
        yield opened


@pytest.fixture
async def either(tmp_path: Path, database_url: str) -> AsyncIterator[House]:
    """Run a daemon on each kind of database."""
    async with living(tmp_path, database_url) as opened:
        yield opened


@pytest.fixture
def without_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only polls read the log."""

    async def rest(_sweep: Sweep) -> timedelta:
        return timedelta(hours=1)

    monkeypatch.setattr(Sweep, "run", rest)


async def test_targets_come_and_go_without_a_restart(either: House) -> None:
    house = either
    await house.trigger("one")
    house.write(("one", "two"))
    answer = await house.reload()
    assert (answer.status_code, answer.json()) == (
        200,
        {"changed": ["targets.two", "triggers.new.to"], "applied": True},
    )
    await house.trigger("one", "two")
    house.write(("two",))
    assert (await house.reload()).json()["changed"] == ["targets.one", "triggers.new.to"]
    await house.trigger("two")
    assert [each.id for each in house.receivers["two"].got] == list(
        dict.fromkeys(each.id for each in house.receivers["two"].got)
    )


async def test_a_file_with_mistakes_changes_nothing_and_every_mistake_is_answered(house: House) -> None:
    house.write(("one", "two"), more="nonsense: 1\nalerts: {to: [nobody]}\n")
    answer = await house.reload()
    assert answer.status_code == 422
    lines = answer.json()["mistakes"]
    known = "database, log, api, connections, targets, egress, actions, alerts, triggers, …"
    assert [line.partition("config.yaml:")[2] for line in lines] == [
        f"7: nonsense: unknown key (known: {known})",
        "8: alerts.to[0]: unknown target (known: one, two)",
    ]
    assert await house.metric("pagerelay_config_last_reload_successful") == 0
    await house.trigger("one")
    house.write()
    assert (await house.reload()).json() == {"changed": [], "applied": True}
    assert await house.metric("pagerelay_config_last_reload_successful") == 1


async def test_a_dry_run_says_what_would_change_and_changes_nothing(house: House) -> None:
    before = await house.metric("pagerelay_config_hash")
    house.write(("one", "two"))
    answer = await house.reload(dry_run="true")
    assert answer.json() == {"changed": ["targets.two", "triggers.new.to"], "applied": False}
    house.write(more="nonsense: 1\n")
    assert (await house.reload(dry_run="true")).status_code == 422
    assert await house.metric("pagerelay_config_last_reload_successful") == 1
    assert await house.metric("pagerelay_config_hash") == before
    await house.trigger("one")


@pytest.mark.parametrize(
    ("values", "key"), [({"database": "sqlite:///other.db"}, "database.url"), ({"port": 1}, "api.listen")]
)
async def test_a_change_that_needs_a_restart_is_refused_and_named(
    house: House, values: dict[str, Any], key: str
) -> None:
    house.write(("one", "two"), **values)
    for query in ({"dry_run": "true"}, {}):
        answer = await house.reload(**query)
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            f"{key}: cannot change while the daemon runs (restart it)",
        )
    await house.trigger("one")


async def test_a_reload_accepts_the_token_of_the_file_and_only_full_access(house: House) -> None:
    house.write(token=f"{NEW_TOKEN}, read_token: canary-read-token")
    assert (await house.reload("canary-guess")).status_code == 401
    assert (await house.http.get("/v1/status", headers={"authorization": f"Bearer {NEW_TOKEN}"})).status_code == 401
    await eventually_admitted(house, NEW_TOKEN)
    for token, status in ((TOKEN, 401), (NEW_TOKEN, 200)):
        answer = await house.http.get("/v1/status", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == status
    assert (await house.reload("canary-read-token")).status_code == 403


async def eventually_admitted(house: House, token: str) -> None:
    """Reload with a token that only the file has; guesses are slowed down to one in a second."""
    answers: list[httpx.Response] = []

    async def is_admitted() -> bool:
        answers.append(await house.reload(token))
        return answers[-1].status_code != 401

    await eventually(is_admitted)
    assert answers[-1].json()["changed"] == ["api.read_token", "api.token"]


async def test_the_row_of_the_daemon_and_the_metrics_show_the_new_configuration(house: House) -> None:
    query = sa.select(schema.instances.c.config_hash)
    (before,) = house.database.read_now(lambda tx: tx.execute(query).scalars().all())
    house.write(("one", "two"))
    await house.reload()
    await eventually(lambda: len(house.database.read_now(lambda tx: tx.execute(query).all())) == 1)
    (after,) = house.database.read_now(lambda tx: tx.execute(query).scalars().all())
    assert before != after
    assert await house.metric("pagerelay_config_hash") == int(after[:12], 16)
    assert await house.metric("pagerelay_config_last_reload_success_timestamp_seconds") > 1_700_000_000


@pytest.mark.usefixtures("without_sweeps")
async def test_a_window_that_takes_long_is_read_once_although_reloads_do_not_wait_for_it(
    either: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = either
    monkeypatch.setattr(generation, "PATIENCE", timedelta(0))
    ended, run = list[timedelta](), Poller.run

    async def counted(poller: Poller) -> timedelta:
        ended.append(await run(poller))
        return ended[-1]

    monkeypatch.setattr(Poller, "run", counted)
    gate = house.simulator.gate
    house.account.trigger("Disk almost full")
    gate.clear()
    await eventually(lambda: house.simulator.waiting == 1)
    for names in (("one", "two"), ("two",)) * 2:
        before = len(ended)
        house.write(names)
        assert (await house.reload()).status_code == 200
        await eventually(functools.partial(lambda n: len(ended) > n or house.simulator.waiting > 1, before))
        assert house.simulator.waiting == 1
    gate.set()
    await eventually(lambda: house.receivers["two"].got)
    assert len(house.receivers["two"].got) == 1


def test_the_overlap_of_a_storm_outlives_a_reload_unless_the_configured_one_differs(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'unused.db'}")
    process = generation.Process(database, CollectorRegistry(), Waiting(), Changes())
    before = process.pace(connection(Limits()))
    before.adapt_overlap(FEW_CALLS + 1)
    assert before.overlap < before.longest_overlap
    assert process.pace(connection(Limits(calls=20))) is before
    after = process.pace(connection(Limits(), overlap=timedelta(minutes=10)))
    assert (after.overlap, after.longest_overlap) == (timedelta(minutes=10), timedelta(minutes=10))
    database.close()


@pytest.mark.usefixtures("without_sweeps")
async def test_a_window_is_not_read_to_its_end_with_the_key_of_a_connection_that_has_changed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "PATIENCE", timedelta(0))
    house.simulator.gate.clear()
    await eventually(lambda: house.simulator.waiting == 1)
    house.write(key="canary-other-key")
    assert (await house.reload()).status_code == 200
    await eventually(lambda: house.simulator.waiting == 2)
    house.simulator.gate.set()


async def test_sighup_reloads(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: dict[int, Any] = {}
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", lambda number, handler: handlers.update({number: handler}))
    monkeypatch.setattr(loop, "remove_signal_handler", lambda _number: True)
    monkeypatch.setattr(app, "_until", contextlib.nullcontext)
    running = app._running
    monkeypatch.setattr(app, "_running", lambda loaded, *, signals: running(loaded, signals=not signals))
    async with living(tmp_path, sqlite_url) as house:
        house.write(("one", "two"))
        reloaded_at = functools.partial(house.metric, "pagerelay_config_last_reload_success_timestamp_seconds")
        began = await reloaded_at()
        handlers[signal.SIGHUP]()

        async def is_over() -> bool:
            return await reloaded_at() != began

        await eventually(is_over)
        await house.trigger("one", "two")


async def test_the_page_and_its_open_connections_follow_a_reload(house: House) -> None:
    async with asyncio.timeout(30):
        signed_in = await house.http.post("/sign-in", data={"token": TOKEN}, headers={"sec-fetch-site": "same-origin"})
        assert signed_in.status_code == 303
        async with house.http.stream("GET", "/live") as open_page:
            assert open_page.status_code == 200
            house.write(token=f"{NEW_TOKEN}, hosts: [relay.example.com]")
            assert (await house.reload()).status_code == 200
            async for _ in open_page.aiter_lines():  # it ends, so that the page connects again, which signs it out
                pass
        assert (await house.http.get("/")).headers["location"] == "/sign-in"
        other_name = {"host": "evil.example.com"}
        assert (await house.http.get("/sign-in", headers=other_name)).status_code == 421
        house.write(token=f"{NEW_TOKEN}, page: false")
        assert (await house.reload(NEW_TOKEN)).status_code == 200
        assert (await house.http.get("/sign-in")).status_code == 404


async def test_a_wrong_token_is_logged_in_one_place_whatever_it_asks_for(house: House) -> None:
    with structlog.testing.capture_logs() as lines:
        await house.reload("canary-guess")
        await house.http.get("/v1/status", headers={"authorization": "Bearer canary-guess"})
        await house.reload("canary-guess")
    assert [line["path"] for line in lines if line["event"] == "request.wrong_token"] == ["/v1/reload"]
