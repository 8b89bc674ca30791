"""Alerts fired for real: each fault is caused once, and only the fault's own alert fires.

Two daemons on PostgreSQL and one on SQLite run against simulated accounts, and a Prometheus with the shipped rules
scrapes them. Its time runs thirty times as fast, and the poll interval and the period of the budget are as short.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import sqlalchemy as sa
import yaml

from daemon.simulator.logbook import utc_now
from tests.endurance import prometheus, world
from tests.harness.receivers import OK, Reply, payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.endurance.prometheus import Prometheus
    from tests.endurance.world import World
    from tests.harness.receivers import Request

Figures = dict[str, Any]
FACTOR = 30
LONGEST_WAIT = 15 * 60 / FACTOR  # the longest ``for`` of the rules
TOKEN, MISTAKE = "endurance", "nonsense: 1\n"
TARGET, IMPATIENT = "target-0", "target-1"
RETRY = {"first": "200ms", "factor": 1.5, "max": "1s"}
OPTIONS = {TARGET: {"retry": RETRY}, IMPATIENT: {"retry": RETRY | {"horizon": "5s"}}}
LIMITS = {"calls": 30, "period": "4s", "poll_interval": "1s"}
TRIGGERS = {"triggered": {"on": "incident.triggered"}}
FEW_CALLS = 6  # as a busy machine makes no more in a period
CLOCK_ERROR = timedelta(seconds=200)
STORM = 700  # incidents
PAGE_SECONDS = 1.0
SMALL_DISK = 64 * 2**20
PATIENCE = 300.0


@dataclass
class Scene:
    """Two daemons on one PostgreSQL database, one on a SQLite file, and the Prometheus that scrapes them."""

    replicas: tuple[World, World]
    small: World
    http: tuple[httpx.AsyncClient, httpx.AsyncClient]
    prometheus: Prometheus

    @property
    def first(self) -> World:
        """Return the first replica's surroundings, which the second one shares."""
        return self.replicas[0]

    async def watch(self, condition: Callable[[set[str]], bool]) -> set[str]:
        """Wait until the firing alerts meet the condition; return all that fired meanwhile."""
        fired: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while not condition(firing := await self.prometheus.firing()):
            fired |= firing
            assert time.monotonic() < deadline, (firing, self.first.log()[-3000:])
            await asyncio.sleep(0.25)
        return fired | firing

    def reject(self, target: str, incident_id: str) -> None:
        """Let a target reject every message about one incident."""

        def behave(request: Request) -> Reply:
            return Reply(422) if payload(request)["data"]["incident"]["id"] == incident_id else OK

        self.first.receivers[target].behave = behave

    def trigger(self) -> str:
        """Start an incident; return its id."""
        return self.first.account.trigger("Disk almost full").id

    async def reload(self, number: int, change: Callable[[str], str]) -> None:
        """Change the configuration of a replica, and let it reload the file."""
        path = self.replicas[number].configuration
        path.write_text(change(path.read_text()))
        await self.http[number].post("/v1/reload")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: how it is caused and mended. ``beside``: alerts that the fault implies besides its own."""

    alert: str
    text: str
    caused: Callable[[Scene], contextlib.AbstractAsyncContextManager[None]]
    beside: frozenset[str] = frozenset()
    clears: bool = True


async def alerts(folder: Path, url: str, *, seed: int) -> Figures:
    """Cause each fault; its alert fires and no other one does, and once the fault is mended, none fires."""
    figures: Figures = {}
    wrong = []
    async with _scene(folder, url, seed) as scene:
        await scene.watch(lambda firing: not firing)
        for fault in FAULTS:
            began = time.monotonic()
            async with fault.caused(scene):
                fired = await scene.watch(lambda firing, name=fault.alert: name in firing)  # type: ignore[misc]
                after = time.monotonic() - began
                ends = began + max(after, LONGEST_WAIT) + 5
                fired |= await scene.watch(lambda _firing, ends=ends: time.monotonic() > ends)  # type: ignore[misc]
            if fault.clears:
                fired |= await scene.watch(lambda firing: not firing)
            others = sorted(fired - {fault.alert})
            figures[fault.alert] = {"fault": fault.text, "after_s": round(after, 1), "others": others}
            print(f"  {fault.alert:28} {fault.text:52} {after:5.1f} s  {', '.join(others) or 'no other'}", flush=True)
            wrong += [(fault.alert, each) for each in others if each not in fault.beside]
    assert not wrong, (wrong, figures)
    return figures


@contextlib.asynccontextmanager
async def _scene(folder: Path, url: str, seed: int) -> AsyncIterator[Scene]:
    large, disk = folder / "replicas", folder / "disk"
    for each in (large, large / "second", disk, folder / "prometheus"):
        each.mkdir()
    async with contextlib.AsyncExitStack() as parts:
        if os.geteuid() == 0:
            await asyncio.to_thread(_mount, disk)
            parts.callback(_unmount, disk)
        setup = {"seed": seed, "limits": LIMITS, "triggers": TRIGGERS, "connection": {"overlap": "30s"}}
        first = await parts.enter_async_context(world.world(large, url, targets=2, options=OPTIONS, **setup))  # type: ignore[arg-type]
        small = await parts.enter_async_context(world.world(disk, f"sqlite:///{disk}/pagerelay.db", **setup))  # type: ignore[arg-type]
        second = replace(first, folder=large / "second", configuration=large / "second" / "config.yaml")
        shutil.copy(first.configuration, second.configuration)
        addresses = [_listen(each) for each in (first, second, small)]
        for around in (first, second, small):
            around.start()
            parts.callback(_end, around)
        await first.baseline()
        await small.baseline()
        jobs = {"pagerelay": addresses[:2], "sqlite": addresses[2:]}
        server = await parts.enter_async_context(prometheus.running(folder / "prometheus", jobs, FACTOR))
        one, two = [await parts.enter_async_context(_client(each)) for each in addresses[:2]]
        scene = Scene((first, second), small, (one, two), server)
        scene.trigger()  # so that each target has accepted a message
        await first.until(lambda: all(each.accepted for each in first.receivers.values()))
        yield scene


def _mount(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)], check=True)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _listen(around: World) -> str:
    """Give the daemon an address that it keeps; return the address."""
    address = f"127.0.0.1:{prometheus.free_port()}"
    written = yaml.safe_load(around.configuration.read_text())
    around.configuration.write_text(yaml.safe_dump(written | {"api": {"listen": address, "token": TOKEN}}))
    return address


def _client(address: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {TOKEN}"}
    return httpx.AsyncClient(base_url=f"http://{address}", headers=headers, trust_env=False, timeout=30)


def _end(around: World) -> None:
    if around.process is not None and around.process.poll() is None:
        around.kill()


# --- faults


@contextlib.asynccontextmanager
async def _no_daemon(scene: Scene) -> AsyncIterator[None]:
    for each in scene.replicas:
        each.kill()
    yield
    for each in scene.replicas:
        each.start()


@contextlib.asynccontextmanager
async def _one_daemon(scene: Scene) -> AsyncIterator[None]:
    assert scene.replicas[1].stop() == 0
    yield
    scene.replicas[1].start()


@contextlib.asynccontextmanager
async def _no_database(scene: Scene) -> AsyncIterator[None]:
    url = sa.make_url(scene.first.database_url)
    engine = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def allow(what: str) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS {what}')
            ending = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
            connection.execute(ending, {"name": url.database})

    await asyncio.to_thread(allow, "false")
    yield
    await asyncio.to_thread(allow, "true")


@contextlib.asynccontextmanager
async def _full_disk(scene: Scene) -> AsyncIterator[None]:
    filler = scene.small.folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(0.93 * shutil.disk_usage(scene.small.folder).free))
    yield
    filler.unlink()


@contextlib.asynccontextmanager
async def _wrong_clock(scene: Scene) -> AsyncIterator[None]:
    log = scene.first.account.log
    clock, log._clock = log._clock, lambda: utc_now() - CLOCK_ERROR
    yield
    log._clock = clock


@contextlib.asynccontextmanager
async def _different_configuration(scene: Scene) -> AsyncIterator[None]:
    await scene.reload(1, lambda text: text.replace("timeout: 1s", "timeout: 2s"))
    yield
    await scene.reload(1, lambda text: text.replace("timeout: 2s", "timeout: 1s"))


@contextlib.asynccontextmanager
async def _mistake(scene: Scene) -> AsyncIterator[None]:
    await scene.reload(0, lambda text: text + MISTAKE)
    yield
    await scene.reload(0, lambda text: text.removesuffix(MISTAKE))


def _failing_pagerduty(**rates: float) -> Callable[[Scene], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def caused(scene: Scene) -> AsyncIterator[None]:
        faults = scene.first.simulator.faults
        faults.set(rates, 1)
        yield
        faults.clear()

    return caused


@contextlib.asynccontextmanager
async def _storm(scene: Scene) -> AsyncIterator[None]:
    faults = scene.first.simulator.faults
    faults.hang_seconds = PAGE_SECONDS
    faults.set({"hang": 1.0}, 1)
    for _ in range(STORM):
        scene.trigger()
    yield
    faults.clear()


@contextlib.asynccontextmanager
async def _busy_automation(scene: Scene) -> AsyncIterator[None]:
    person = scene.first.account.directory.users[0].id

    async def ask(client: httpx.AsyncClient) -> None:
        while True:
            await client.post("/v1/actions/GetUser?wait=20", json={"parameters": {"userId": person}})

    for number in (0, 1):
        await scene.reload(number, lambda text: text.replace(f"calls: {LIMITS['calls']}", f"calls: {FEW_CALLS}"))
    tasks = [asyncio.create_task(ask(client)) for client in 3 * scene.http]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for number in (0, 1):
        await scene.reload(number, lambda text: text.replace(f"calls: {FEW_CALLS}", f"calls: {LIMITS['calls']}"))


@contextlib.asynccontextmanager
async def _refused_writes(scene: Scene) -> AsyncIterator[None]:
    faults = scene.first.simulator.faults
    faults.set({"server_error_before": 1.0}, 1)
    account = scene.first.account
    parameters = {"incidentId": scene.trigger(), "userId": account.directory.users[0].id, "note": "Looking into it."}
    request = {"parameters": parameters}
    answer = await scene.http[0].post("/v1/actions/AddNoteToIncident", json=request)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    yield
    faults.clear()


def _odd_record(**odd: str) -> Callable[[Scene], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def caused(scene: Scene) -> AsyncIterator[None]:
        scene.first.account.odd_record(scene.trigger(), **odd)
        yield

    return caused


@contextlib.asynccontextmanager
async def _failing_target(scene: Scene) -> AsyncIterator[None]:
    receiver = scene.first.receivers[TARGET]
    receiver.behave = lambda _request: Reply(500)
    scene.trigger()
    yield
    receiver.behave = lambda _request: OK
    await scene.http[0].post(f"/v1/targets/{TARGET}/resume")


@contextlib.asynccontextmanager
async def _paused_target(scene: Scene) -> AsyncIterator[None]:
    await scene.http[0].post(f"/v1/targets/{TARGET}/pause")
    scene.trigger()
    yield
    await scene.http[0].post(f"/v1/targets/{TARGET}/resume")


def _rejecting(target: str) -> Callable[[Scene], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def caused(scene: Scene) -> AsyncIterator[None]:
        scene.reject(target, scene.trigger())
        yield
        scene.first.receivers[target].behave = lambda _request: OK

    return caused


FAULTS = (
    Fault("PagerelayAbsent", "both daemons are killed", _no_daemon),
    Fault("PagerelayReplicaDown", "one of two daemons is stopped", _one_daemon),
    Fault("PagerelayDatabaseFailing", "PostgreSQL accepts no connections", _no_database),
    Fault("PagerelayDiskNearlyFull", "93 % of the SQLite file's disk are filled", _full_disk),
    Fault("PagerelayClockOff", "the machine's clock is 200 s ahead of PagerDuty's", _wrong_clock),
    Fault("PagerelayReplicasDiffer", "one of two daemons reloads another configuration", _different_configuration),
    Fault("PagerelayReloadFailed", "the reloaded file has an unknown key", _mistake),
    Fault("PagerelayConnectionFailing", "PagerDuty answers every call with 5xx", _failing_pagerduty(server_error=1.0)),
    Fault("PagerelayBudgetExhausted", "automation uses up a small budget with actions", _busy_automation),
    Fault("PagerelayRecordsQuarantined", "a log entry without a valid incident", _odd_record(incident="nonsense")),
    Fault("PagerelayActionsWaiting", "PagerDuty answers every write with 5xx", _refused_writes),
    Fault("PagerelayTargetFailing", "a target answers 500", _failing_target),
    Fault("PagerelayTargetPaused", "a person pauses a target", _paused_target),
    Fault("PagerelayBacklogOld", "a target rejects one message with 422", _rejecting(TARGET)),
    Fault("PagerelayDeliveriesDead", "a message passes the target's horizon", _rejecting(IMPATIENT)),
    Fault("PagerelayConnectionLagging", "a storm of incidents while each page takes long", _storm),
    Fault(
        "PagerelayUnknownLogEntries",
        "PagerDuty writes a log entry of a new type",
        _odd_record(type="brand_new_log_entry"),
        clears=False,
    ),
)
