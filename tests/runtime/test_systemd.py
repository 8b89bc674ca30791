"""What systemd is told: more time for a long start, and signs of life only while the work goes on."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog
from prometheus_client import CollectorRegistry

from daemon import app, config
from daemon.app import generation
from daemon.app.reloading import Reloader
from daemon.delivery import loop
from daemon.delivery.loop import DeliveryLoop
from daemon.runtime import systemd
from daemon.storage.database import STUCK_SECONDS, Database
from tests.harness import sample_data
from tests.harness.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Manager:
    """A service manager that remembers the notifications. It reads in a thread: senders wait while ten are unread."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._path = str(path)
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self._messages.put(message.decode())

    def messages(self) -> list[str]:
        """Return what was sent since the last call."""
        systemd.notify("MARK")
        return list(iter(lambda: self._messages.get(timeout=30), "MARK"))

    def collect(self, messages: list[str]) -> int:
        """Add what was sent to the messages; return how many there are."""
        messages.extend(self.messages())
        return len(messages)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self._path)
        self._thread.join(30)
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield manager
    manager.close()


async def test_a_long_start_asks_for_more_time_again_and_again(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "EXTEND_EVERY_SECONDS", 0.001)
    messages: list[str] = []
    ticks: list[int] = []
    async with systemd.long_start("upgrading", lambda: ticks.append(1)):
        await eventually(lambda: manager.collect(messages) >= 3)
    assert len(ticks) >= 2
    assert set(messages) == {"STATUS=upgrading\nEXTEND_TIMEOUT_USEC=60000000"}
    manager.messages()
    await asyncio.sleep(0)
    assert manager.messages() == []


async def test_a_daemon_whose_schema_upgrade_takes_long_asks_for_more_time_and_then_is_ready(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "EXTEND_EVERY_SECONDS", 0.001)
    may_go_on, stop = threading.Event(), asyncio.Event()
    upgrade = Database.upgrade

    def slowly(database: Database, report: Callable[[str], None]) -> str:
        assert may_go_on.wait(30)
        return upgrade(database, report)

    monkeypatch.setattr(Database, "upgrade", slowly)
    settings = sample_data.settings(tmp_path, f"sqlite:///{tmp_path / 'pagerelay.db'}")
    running = asyncio.create_task(app.run(config.Loaded(settings, {}), stop=stop, ready=lambda _: stop.set()))
    messages: list[str] = []
    await eventually(lambda: manager.collect(messages) >= 5)
    assert all("EXTEND_TIMEOUT_USEC=" in message for message in messages)
    may_go_on.set()
    await running
    later = manager.messages()
    after = later[later.index("READY=1\nSTATUS=") :]
    assert not any("EXTEND" in message for message in after)
    assert after[-1] == "STOPPING=1"


def test_the_watchdog_is_silent_while_something_is_stuck_and_logs_it_once(manager: Manager) -> None:
    problem: list[str | None] = [None]
    watchdog = systemd.Watchdog(lambda: problem[0])
    watchdog.beat()
    assert manager.messages() == ["WATCHDOG=1"]
    problem[0] = "the work on deliveries has ended"
    with structlog.testing.capture_logs() as lines:
        watchdog.beat()
        watchdog.beat()
    assert manager.messages() == []
    assert [(line["event"], line["error"]) for line in lines] == [("daemon.stuck", problem[0])]
    problem[0] = None
    watchdog.beat()
    assert manager.messages() == ["WATCHDOG=1"]


async def test_a_restart_helps_when_work_has_ended_or_stands_still_or_the_database_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries = DeliveryLoop(database, {}, "a")
    delivering = asyncio.create_task(deliveries.run(), name="deliveries")
    acting = asyncio.create_task(asyncio.Event().wait(), name="actions acme")
    working = [delivering, acting]
    assert generation.stuck(database, deliveries, working) is None  # type: ignore[arg-type]  # any task will do
    monkeypatch.setattr(loop, "STUCK_SECONDS", -1.0)
    assert generation.stuck(database, deliveries, working) == "the delivery loop is stuck"  # type: ignore[arg-type]
    monkeypatch.undo()
    acting.cancel()
    await asyncio.wait([acting])
    assert generation.stuck(database, deliveries, working) == "the work on actions acme has ended"  # type: ignore[arg-type]
    await eventually(lambda: deliveries._recording is not None)
    assert deliveries._recording is not None
    deliveries._recording.cancel()
    await asyncio.wait([deliveries._recording])
    assert deliveries.is_stuck()
    delivering.cancel()
    await asyncio.wait([delivering])
    database._failed("database: gone")
    assert database.failure is not None
    database._failure = replace(database.failure, since=database.failure.since - STUCK_SECONDS - 1)
    assert generation.stuck(database, deliveries, []) == "database: gone (for more than five minutes)"


def test_a_manager_that_does_not_read_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "deaf"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))

        def send() -> None:
            for _ in range(1000):
                systemd.notify("WATCHDOG=1")

        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        sending.join(30)
        assert not sending.is_alive()


async def test_a_reload_by_signal_is_announced_with_its_time_and_its_end(manager: Manager, tmp_path: Path) -> None:
    settings = sample_data.settings(tmp_path, f"sqlite:///{tmp_path / 'pagerelay.db'}")
    reloader = Reloader(config.read(settings.source, {}), CollectorRegistry(), lambda _settings: asyncio.sleep(0))
    for text in (settings.source.read_text(), "nonsense: 1\n"):
        settings.source.write_text(text)
        began = time.monotonic_ns() // 1000
        reloader.on_hangup()
        await asyncio.gather(*reloader._tasks)
        first, last = manager.messages()
        reloading, _, at = first.partition("\nMONOTONIC_USEC=")
        assert (reloading, last) == ("RELOADING=1", "READY=1")
        assert began <= int(at) <= time.monotonic_ns() // 1000
