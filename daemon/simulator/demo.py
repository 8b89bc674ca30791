"""The demo: a simulated account, the daemon and four receivers in one process, with a commentary.

On a terminal it runs until Ctrl-C; elsewhere it ends after one incident.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import uvloop
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon import app, config, errors, triggers
from daemon.page import sessions
from daemon.runtime import log
from daemon.simulator import http
from daemon.simulator.account import Account
from daemon.simulator.lifecycles import Lifecycles
from daemon.simulator.receiver import OK, Received, Receivers
from daemon.simulator.server import Simulator
from daemon.storage.database import system_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.settings import ApiSettings
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Happening, Incident

POLL = 0.5
LOOK = 0.05
GROUPED = 0.15  # seconds for which the responses of several targets are collected for one line
RATE = 3.0
PACE = 6.0
PATIENCE = 60.0
WIDTH = 120  # without a terminal
DOWN = "crm"
OUTAGE = 180.0  # seconds
TARGETS = ("ops", "chat", "moody", DOWN)
MOODS = {"moody": 2}
INTRODUCTION = f"""\
A simulated PagerDuty account, the daemon and four receivers, in one process.
The daemon polls PagerDuty every {POLL} s here (30 s by default), finds out what
happened, and posts signed webhooks. The receiver "moody" responds with 503 at
first, so it gets retries. The receiver "{DOWN}" is down for the first {OUTAGE / 60:.0f} minutes:
the page shows since when and why; then it recovers by itself and gets
everything that waited. The acknowledgement is an action, requested from the
daemon over HTTP; it comes back as an event.
"""
YOUR_TURN = """
That was one incident. More follow until you press Ctrl-C, and users of this
account reopen some of them. Now it is your turn: act on the incident that was
just triggered, #{number}, as {name}. In a second terminal, in this folder:

  export PAGERELAY_CONFIG={config}
  {command} incidents
  {command} action AcknowledgeIncident \\
      incidentId={incident} userId={user} --wait 10

It comes back as a webhook. Resolve it over HTTP:

  curl -sS -H 'Authorization: Bearer {token}' \\
      -H 'Content-Type: application/json' \\
      -d '{{"parameters": {{"incidentId": "{incident}", "userId": "{user}"}}}}' \\
      '{address}/v1/actions/ResolveIncident?wait=10'

"""
THE_PAGE = """\
Watch it in a browser: the target "{down}" is down now. This link signs in once:

  {link}

To sign in again, open {address}/ and enter the token
{token}
"""
ENDS_SOON = "\nWithout a terminal the demo ends after this incident, and the page with it.\n"
KIND_WIDTH = 14  # columns; after a longer type the line breaks, so that the arrows stay below each other
API_PORT = 8421


def run() -> None:
    """Run the demo. Raises PagerelayError if it fails."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        width = None if sys.stdout.isatty() else WIDTH
        runner.run(Demonstration(Console(highlight=False, width=width)).run())


class Demonstration:
    """All parts of the demo, and its commentary."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self._account = Account(api_key=secrets.token_hex(10), seed=secrets.randbelow(1_000_000))
        self._simulator = Simulator([self._account])
        self._receivers = Receivers(self._secret, MOODS, self._received, {DOWN: OUTAGE})
        self._token = secrets.token_hex(16)
        self._address = ""
        self._api: ApiSettings | None = None
        self._configured = Path()
        self._printed = 0
        self._groups: dict[str, list[Received]] = {}

    async def run(self) -> None:
        """Start all parts, run the story, stop all parts, and print a summary."""
        self._console.print(INTRODUCTION, soft_wrap=True)
        stop, ready = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        folder = Path(tempfile.mkdtemp(prefix="pagerelay-demo-"))
        try:
            async with self._simulator.serving() as url, http.listening(self._receivers.answer, 0) as receiver:
                self._configured = self._configuration(folder, url, receiver)
                loaded = config.read(self._configured, {})
                settings = loaded.settings
                self._api = settings.api
                log.configure("auto", "error", hide=config.secrets(settings))
                daemon = asyncio.create_task(app.run(loaded, ready=lambda at: self._is_ready(at, ready), stop=stop))
                watching = asyncio.create_task(self._watch())
                story = asyncio.create_task(self._story(ready, stop))
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait([daemon, story, stopping], return_when=asyncio.FIRST_COMPLETED)
                stop.set()
                await daemon
                watching.cancel()
                stopped = story.done() is False and story.cancel()
                await asyncio.gather(watching, stopping, return_exceptions=True)
                with contextlib.suppress(asyncio.CancelledError):
                    await story
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._sum_up(interrupted=stopped)

    def _configuration(self, folder: Path, url: str, receiver: str) -> Path:
        """Write a configuration file as a user would; return its path."""
        common = {"secret": self._secret, "retry": {"first": "1s", "factor": 1.5, "max": "20s"}}
        limits = {"calls": 600, "period": "60s", "poll_interval": f"{POLL}s"}
        configuration = {
            "database": {"url": f"sqlite:///{folder}/demo.db"},
            "api": {"listen": f"127.0.0.1:{_free_port()}", "token": self._token},
            "connections": {
                "acme": {"api_key": self._account.api_key, "api_url": url, "events_url": url, "limits": limits}
            },
            "targets": {name: common | {"url": f"{receiver}/{name}"} for name in TARGETS},
            "triggers": {kind.partition(".")[2]: {"on": kind, "to": _targets_of(kind)} for kind in triggers.REGISTRY},
        }
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(configuration))
        return path

    def _is_ready(self, address: str | None, ready: asyncio.Event) -> None:
        self._address = address or ""
        ready.set()

    async def _story(self, ready: asyncio.Event, stop: asyncio.Event) -> None:
        """Play one incident from trigger to resolution; on a terminal continue with others until stopped."""
        await ready.wait()
        await self._until(lambda: self._simulator.calls)  # the baseline: nothing before it is sent
        page = (THE_PAGE if sys.stdout.isatty() else THE_PAGE + ENDS_SOON).format(
            down=DOWN, link=self._link, address=self._address, token=self._token
        )
        self._console.print(page, style="dim", soft_wrap=True)
        account = self._account
        alice, bob, *_ = account.directory.users
        incident = account.trigger("Disk almost full on db-1", service=account.directory.services[0]).id
        await self._until(self._all_delivered)
        await asyncio.sleep(2 * POLL)
        await self._act("AcknowledgeIncident", incidentId=incident, userId=alice.id)
        steps: Sequence[Callable[[], object]] = (
            lambda: account.annotate(incident, alice, "The sessions table has grown, deleting old ones."),
            lambda: account.delegate(incident, alice, [bob]),
            lambda: account.resolve(incident, bob, "Space is back."),
        )
        for step in steps:
            await self._until(self._all_delivered)
            await asyncio.sleep(2 * POLL)
            step()
        await self._until(self._all_delivered)
        if sys.stdout.isatty():
            yours = account.trigger("Certificate expires in 3 days", service=account.directory.services[1])
            await self._until(self._all_delivered)
            self._console.print(self._your_turn(yours, alice), soft_wrap=True)
            lives = asyncio.create_task(Lifecycles(account, rate=RATE, pace=PACE).run())
            await stop.wait()
            lives.cancel()

    async def _act(self, operation: str, **parameters: str) -> None:
        """Request an action from the daemon over HTTP, and print how it ended."""
        self._say("action", "yellow", Text(f"POST /v1/actions/{operation}"))
        async with httpx.AsyncClient(base_url=self._address, trust_env=False, timeout=2 * PATIENCE) as client:
            response = await client.post(
                f"/v1/actions/{operation}",
                params={"wait": 30},
                headers={"Authorization": f"Bearer {self._token}"},
                json={"parameters": parameters},
            )
        action = response.json()
        if response.status_code != OK or action["state"] != "succeeded":
            message = f"the action {operation} did not succeed: {response.text}"
            raise errors.PagerelayError(message)
        self._say("action", "yellow", Text(f"{operation} {action['state']}: {action['result']['status']}"))

    @property
    def _link(self) -> str:
        """Return the address of the page, with a link that signs in once."""
        ticket = "" if self._api is None else sessions.ticket(self._api, system_clock())
        return f"{self._address}/sign-in?ticket={ticket}"

    def _your_turn(self, incident: Incident, user: User) -> str:
        """Return the instructions for acting on an incident from a second terminal."""
        command = "pagerelay" if Path(sys.argv[0]).name == "__main__.py" else shlex.quote(sys.argv[0])
        if command.startswith(f"{Path.cwd()}/"):
            command = command.removeprefix(f"{Path.cwd()}/")
        return YOUR_TURN.format(
            config=self._configured,
            command=command,
            number=incident.number,
            name=user.name,
            incident=incident.id,
            user=user.id,
            token=self._token,
            address=self._address,
        )

    async def _until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - several parts could set an event
                await asyncio.sleep(LOOK)

    def _all_delivered(self) -> bool:
        """Return whether every event has reached all its targets, apart from the one that is down."""
        expected = sum(len({*_targets_of(happening.type)} - {DOWN}) for happening in self._account.log.ledger)
        arrived = sum(target != DOWN for _, target in self._receivers.delivered)
        return arrived >= expected and not self._groups

    async def _watch(self) -> None:
        """Print what happens at PagerDuty."""
        while True:
            for happening in self._account.log.ledger[self._printed :]:
                self._printed += 1
                self._say("PagerDuty", "cyan", self._words(happening))
            await asyncio.sleep(LOOK)

    def _words(self, happening: Happening) -> Text:
        incident = self._account.incident(happening.incident_id)
        people = {user.id: user.name for user in self._account.directory.users}
        words = [
            f"#{incident.number}",
            triggers.REGISTRY[happening.type].phrase,
            *(people[user] for user in happening.users),
        ]
        words += [incident.title] if happening.type == "incident.triggered" else []
        words += [happening.note] if happening.note else []
        return Text(" ".join(words))

    def _received(self, received: Received) -> None:
        """Collect the responses of all targets to one event for a moment; print retries on lines of their own."""
        if received.attempt > 1:
            self._print_attempts([received], f"attempt {received.attempt}, same webhook-id")
            return
        if received.event_id not in self._groups:
            self._groups[received.event_id] = []
            asyncio.get_running_loop().call_later(GROUPED, self._print_group, received.event_id)
        self._groups[received.event_id].append(received)

    def _print_group(self, event_id: str) -> None:
        self._print_attempts(sorted(self._groups.pop(event_id), key=lambda attempt: TARGETS.index(attempt.target)))

    def _print_attempts(self, attempts: Sequence[Received], remark: str = "") -> None:
        body = attempts[0].body
        number, kind = body["data"]["incident"]["incident_number"], body["type"].removeprefix("incident.")
        start = f"#{number} "
        width = len(start) + KIND_WIDTH
        line = Text(f"{start}{kind}\n" + " " * width if len(kind) > KIND_WIDTH else f"{start}{kind}".ljust(width))
        line.append(" →")
        for attempt in attempts:
            line.append(f"  {attempt.target} ").append(
                str(attempt.status), style="green" if attempt.status == OK else "red"
            )
        self._say("webhook", "magenta", line.append(f"  {remark}" if remark else ""))

    def _say(self, who: str, colour: str, what: Text) -> None:
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=len("HH:MM:SS"), style="dim")
        row.add_column(width=len("PagerDuty"), style=colour)
        row.add_column(overflow="fold")  # wraps within its column
        row.add_row(f"{self._account.log.now().astimezone():%H:%M:%S}", who, what)
        self._console.print(row)

    def _sum_up(self, *, interrupted: bool) -> None:
        """Print the totals and the next steps. Raises PagerelayError if something did not arrive."""
        delivered, events = len(self._receivers.delivered), len(self._account.log.ledger)
        per_event = Counter(happening.type for happening in self._account.log.ledger)
        calls = len(self._simulator.calls)
        if self._receivers.refused or not (interrupted or self._all_delivered()):
            message = f"{delivered} webhooks of {events} events arrived, {self._receivers.refused} badly signed"
            raise errors.PagerelayError(message)
        kinds = ", ".join(f"{number} {kind.partition('.')[2]}" for kind, number in sorted(per_event.items()))
        self._console.print(
            f"\n{events} events ({kinds}) became {delivered} webhooks, every signature verified. "
            f"PagerDuty received {calls} calls.\n"
            "Your own account: copy config.example.yaml to config.yaml, then: pagerelay check, pagerelay run",
        )


def _free_port() -> int:
    """Return the API's usual port if it is free, or else any free port."""
    for port in (API_PORT, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    message = "no free port on 127.0.0.1"
    raise errors.PagerelayError(message)


def _targets_of(kind: str) -> list[str]:
    return list(TARGETS if kind == "incident.triggered" else TARGETS[:2])
