"""The daemon's surroundings: an account with its ledger, receivers that record requests, and the process itself."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from daemon import triggers
from daemon.simulator import Account, Lifecycles, Simulator
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, SECRET, Receiver, Reply, Request

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from daemon.simulator.incident import Entry, Happening
    from tests.cli import forked

ROOT = Path(__file__).parents[2]
QUICK = {"calls": 100_000, "period": "60s", "poll_interval": "200ms"}
TRIGGERS = {kind.partition(".")[2]: {"on": kind} for kind in triggers.REGISTRY}
FAULTS = {
    "rate_limited": 0.01,
    "rate_limited_bare": 0.01,
    "server_error": 0.05,
    "slow": 0.1,
    "reset": 0.05,
    "cut": 0.05,
    "not_json": 0.03,
    "too_long": 0.03,
    "shift": 0.05,
    "late": 0.05,
    "swapped": 0.3,
}
MISBEHAVIOUR = (
    Reply(500),
    Reply(503, {"retry-after": "1"}),
    Reply(429, {"retry-after": "1"}),
    Reply(301, {"location": "http://127.0.0.1:1/elsewhere"}),
    Reply(404, body=b"no such hook"),
    Reply(how="reset"),
    Reply(how="drip"),
    Reply(how="hang"),
    Reply(delay=0.3),
)


def digest(*parts: str) -> str:
    """Return the second half of an id, computed as ARCHITECTURE.md describes."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:26]


def event_id(happening: Happening, connection: str = "acme") -> str:
    """Return the id that the event of a ledger line must have."""
    key = "" if happening.type == "incident.triggered" else happening.entry_id
    return "evt_" + digest(connection, happening.incident_id, happening.type, key)


def message_id(happening: Happening) -> str:
    """Return the ``webhook-id`` that the message of a ledger line must have."""
    return "msg_" + digest(event_id(happening), happening.type.partition(".")[2])


@dataclass
class Moody:
    """The behaviour of a receiver that fails at a rate."""

    rate: float
    chance: random.Random

    def __call__(self, _request: Request) -> Reply:
        return self.chance.choice(MISBEHAVIOUR) if self.chance.random() < self.rate else OK


def launch(arguments: list[str], output: int) -> subprocess.Popen[bytes] | forked.Process:
    """Start ``pagerelay``; its output goes to the descriptor of a file. The short forms replace this function."""
    command = [sys.executable, "-m", "daemon", *arguments]
    env = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, env=env)


@dataclass
class World:
    """The surroundings of one daemon."""

    account: Account
    simulator: Simulator
    receivers: dict[str, Receiver]
    url: str
    database_url: str
    configuration: Path
    folder: Path
    process: subprocess.Popen[bytes] | forked.Process | None = None
    period: float = 60.0
    peak_rss: int = 0
    naive: set[tuple[str, str]] = field(default_factory=set)
    _wanted: dict[str, Happening] = field(default_factory=dict)
    _accepted: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _counted: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def start(self) -> None:
        """Start the daemon."""
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = launch(["run", "--config", str(self.configuration)], log.fileno())

    def kill(self) -> None:
        """Kill the daemon as a power failure would."""
        assert self.process is not None
        self._measure()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Stop the daemon as systemd would; return the exit code."""
        assert self.process is not None
        self._measure()
        self.process.terminate()
        return self.process.wait(timeout=15)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the running daemon, in seconds."""
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def _measure(self) -> None:
        assert self.process is not None
        with contextlib.suppress(psutil.Error):
            self.peak_rss = max(self.peak_rss, psutil.Process(self.process.pid).memory_info().rss)

    async def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until ``condition`` holds. Raises AssertionError with the end of the log, also if the daemon dies."""

        def holds() -> object:
            assert self.process is None or self.process.poll() is None, "the daemon died"
            self._measure()
            return condition()

        try:
            await eventually(holds, seconds=seconds)
        except AssertionError as error:
            error.add_note(self.log()[-3000:])
            raise

    async def baseline(self) -> None:
        """Wait until the first poll is stored: PagerDuty has responded to the second one."""
        await self.until(lambda: sum(call.path == "/log_entries" and call.status == 200 for call in self.calls) >= 2)

    @property
    def calls(self) -> list[Any]:
        """Return the daemon's calls to PagerDuty; only a naive poller requests incidents since a time."""
        return [call for call in self.simulator.calls if call.path != "/incidents" or "since" not in dict(call.query)]

    def log(self) -> str:
        """Return the daemon's log so far."""
        return (self.folder / "daemon.log").read_text()

    def expected(self) -> dict[str, Happening]:
        """Return every message that must arrive, by id."""
        news = self.account.log.ledger[len(self._wanted) :]
        self._wanted.update((message_id(each), each) for each in news)
        return self._wanted

    def accepted(self, target: str) -> set[str]:
        """Return the ids of the messages that a target accepted."""
        known, accepted = self._accepted[target], self.receivers[target].accepted
        known.update(each.id for each in accepted[self._counted[target] :])
        self._counted[target] = len(accepted)
        return known

    def ambiguous(self) -> dict[str, list[set[str]]]:
        """Return, for each ambiguous assignment and assignee, the messages; exactly one of them has to arrive.

        Assignments are ambiguous in a second of an incident with a delegation and an entry that was shown
        late: a reader in between cannot know which assignment belongs to the delegation.
        """
        alternatives: dict[str, list[set[str]]] = {}
        groups: dict[tuple[str, datetime], list[Entry]] = defaultdict(list)
        for entry in self.account.log.entries:
            if entry.type in {"assign_log_entry", "delegate_log_entry"}:
                groups[entry.incident.id, entry.created_at].append(entry)
        for key, happening in self.expected().items():
            group = groups[happening.incident_id, happening.at] if happening.users else []
            if any(each.type == "delegate_log_entry" for each in group) and any(map(_was_late, group)):
                alternatives[key] = [
                    {message_id(replace(happening, entry_id=each.id)) for each in group if user in _users(each)}
                    for user in happening.users
                ]
        return alternatives

    def all_arrived(self) -> bool:
        """Return whether every target accepted every message."""
        return not any(self.missing(target) for target in self.receivers)

    def missing(self, target: str) -> set[str]:
        """Return the messages that a target did not receive in any form."""
        accepted = self.accepted(target)
        missing = self.expected().keys() - accepted
        if not missing:
            return set()
        if len(missing) > MANY_MISSING:  # too many to resolve ambiguities
            return missing
        ambiguous = self.ambiguous()
        return {
            each for each in missing if each not in ambiguous or not all(map(accepted.intersection, ambiguous[each]))
        }

    def report(self) -> Report:
        """Return the figures of the run."""
        expected = self.expected()
        may_come = expected.keys() | {each for ways in self.ambiguous().values() for way in ways for each in way}
        late = {each.incident.id for each in self.account.log.entries if _was_late(each)}
        order = {key: place for place, key in enumerate(expected)}
        report = Report(entries=len(self.account.log.entries), events=len(expected), calls=len(self.calls))
        for target, receiver in self.receivers.items():
            first = list(dict.fromkeys(each.id for each in receiver.accepted))
            report.lost += len(self.missing(target))
            unexpected = set(first) - may_come
            report.unexpected += len(unexpected)
            for each in (each.body.decode() for each in receiver.accepted if each.id in unexpected):
                entries = [entry for entry in self.account.log.entries if entry.incident.id in each]
                report.examples += [each, *map(_line, entries)]
            report.repeats += len(receiver.accepted) - len(first)
            report.attempts += len(receiver.got)
            by_incident: dict[str, list[int]] = defaultdict(list)
            for each in first:
                if each in expected and expected[each].incident_id not in late:
                    by_incident[expected[each].incident_id].append(order[each])
            report.out_of_order += sum(places != sorted(places) for places in by_incident.values())
            report.ordered += len(by_incident)
            report.bodies_differ += _differing(receiver.got)
            report.deliveries += len(expected)
        report.most_calls_in_a_period = most_in(self.period, [call.at.timestamp() for call in self.calls])
        report.peak_rss_mb = self.peak_rss // 2**20
        return report


_SECOND = timedelta(seconds=1)
MANY_MISSING = 5000


def _was_late(entry: Entry) -> bool:
    """Return whether an entry was shown later than others of its second."""
    return entry.visible_at > entry.created_at + _SECOND


def _line(entry: Entry) -> str:
    """Return what matters for the question whether an entry is an event."""
    times = f"{entry.created_at:%H:%M:%S.%f} shown {entry.visible_at:%H:%M:%S.%f}"
    return f"{times} {entry.id} {entry.type} {_users(entry)}"


def _users(entry: Entry) -> list[str]:
    return [each.id for each in entry.assignees or ()]


def _differing(got: Sequence[Request]) -> int:
    """Return how many messages had different bodies in different attempts."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for each in got:
        bodies[each.id].add(each.body)
    return sum(len(each) > 1 for each in bodies.values())


def most_in(seconds: float, times: list[float]) -> int:
    """Return the largest number of calls in any window of that length."""
    times = sorted(times)
    return max((bisect_right(times, at + seconds) - place for place, at in enumerate(times)), default=0)


@dataclass
class Report:
    """The figures of one run. ``lost``, ``unexpected``, ``out_of_order``, ``bodies_differ`` must be 0."""

    entries: int
    events: int
    calls: int
    deliveries: int = 0
    lost: int = 0
    unexpected: int = 0
    out_of_order: int = 0
    ordered: int = 0
    repeats: int = 0
    attempts: int = 0
    bodies_differ: int = 0
    most_calls_in_a_period: int = 0
    peak_rss_mb: int = 0
    examples: list[str] = field(default_factory=list)
    """The bodies of unexpected messages, each with the log of its incident."""

    def check(self) -> None:
        """Fail unless everything arrived, once by id, in order."""
        bad = self.lost, self.unexpected, self.out_of_order, self.bodies_differ
        assert bad == (0, 0, 0, 0), self


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    database_url: str,
    *,
    seed: int,
    targets: int = 1,
    limits: dict[str, Any] | None = None,
    behave: Callable[[Request], Reply] | None = None,
    connection: dict[str, Any] | None = None,
    triggers: dict[str, dict[str, Any]] | None = None,
    options: dict[str, dict[str, Any]] | None = None,
) -> AsyncIterator[World]:
    """Create a daemon's surroundings; the caller starts the daemon. ``options`` are the targets' settings, by name."""
    account = Account(seed=seed)
    simulator = Simulator([account], limit=10**9, seed=seed)
    receivers = {f"target-{number}": Receiver(behave or (lambda _request: OK)) for number in range(targets)}
    async with contextlib.AsyncExitStack() as serving:
        url = await serving.enter_async_context(simulator.serving())
        urls = {name: await serving.enter_async_context(each.serving()) for name, each in receivers.items()}
        retry = {"first": "200ms", "factor": 1.5, "max": "2s"}
        written: dict[str, Any] = {
            "database": {"url": database_url.replace("+psycopg", "")},
            "api": {"listen": None},
            "connections": {
                "acme": {"api_key": account.api_key, "api_url": url, "events_url": url, "limits": limits or QUICK}
            },
            "targets": {
                name: {"url": where, "secret": SECRET, "timeout": "1s", "retry": retry} | (options or {}).get(name, {})
                for name, where in urls.items()
            },
            "triggers": {
                name: each | {"to": list(receivers)}
                for name, each in (TRIGGERS if triggers is None else triggers).items()
            },
        }
        written["connections"]["acme"] |= connection or {}
        configuration = folder / "config.yaml"
        configuration.write_text(yaml.safe_dump(written))
        surroundings = World(account, simulator, receivers, url, database_url, configuration, folder)
        surroundings.period = float(str((limits or QUICK)["period"]).removesuffix("s"))
        try:
            yield surroundings
        finally:
            if surroundings.process is not None and surroundings.process.poll() is None:
                surroundings.process.kill()
                surroundings.process.wait()


async def live(account: Account, incidents: int, seconds: float, seed: int, pace: float) -> None:
    """Create this many incidents within this time, and run their lifecycles to the end."""
    lives = Lifecycles(account, rate=0, seed=seed, pace=pace)
    began = time.monotonic()
    due: object = True
    while lives.created < incidents or due is not None:
        share = min((time.monotonic() - began) / seconds, 1.0)
        while lives.created < round(share * incidents):
            lives.create()
        due = lives.step(account.log.now())
        await asyncio.sleep(0.02)
