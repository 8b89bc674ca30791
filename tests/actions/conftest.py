"""An account, the queue and an executor between them, with time that moves only while somebody waits."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from daemon import actions, pagerduty
from daemon.actions.executor import Executor
from daemon.model import ActionState
from daemon.pagerduty.permits import Permits
from daemon.runtime.presence import UNCONTESTED
from daemon.settings import Connection, Limits
from daemon.simulator import Account, Simulator
from daemon.storage import action_queue, connections, instances

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    import sqlalchemy as sa

    from daemon.model import Action, Json
    from daemon.simulator.incident import Effect, Incident
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

ENDED = (ActionState.SUCCEEDED, ActionState.FAILED)
MANY = Limits(calls=100_000)


class Line(httpx.AsyncBaseTransport):
    """The line to PagerDuty. ``cut`` is asked before and after each request whether it breaks there.

    ``instead`` are odd answers, a body or a status that asks for a day's pause, each given once.
    """

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self.requests: list[httpx.Request] = []
        self.instead: list[tuple[str, str, Json | int]] = []
        self.cut: Callable[[httpx.Request, str], bool] = lambda _request, _when: False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.cut(request, "before"):
            raise httpx.ConnectError("cut before")
        for answer in self.instead:
            method, path, odd = answer
            if (request.method, request.url.path) == (method, path):
                self.instead.remove(answer)
                if isinstance(odd, int):
                    return httpx.Response(odd, headers={"retry-after": "86400"})
                return httpx.Response(200, json=odd)
        response = await self._inner.handle_async_request(request)
        if self.cut(request, "after"):
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("cut after")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class Office:
    """Everything that an action meets on its way."""

    account: Account
    simulator: Simulator
    url: str
    database: Database
    clock: ManualClock
    limits: Limits = MANY
    line: Line = field(default_factory=Line)
    clients: list[pagerduty.Client] = field(default_factory=list)
    told: list[set[str]] = field(default_factory=list)
    on_sleep: Callable[[], object] = lambda: None

    def executor(self, instance: str = "one", **more: Any) -> Executor:
        """Return a daemon's executor."""
        presence = more.get("presence", UNCONTESTED)
        permits = Permits(self.database, "acme", self.limits, instance, sleep=self._sleep, presence=presence)
        connection = Connection("acme", SecretStr(self.account.api_key), self.url, self.url, self.limits)
        client = pagerduty.Client(connection, permits, transport=self.line, sleep=self._sleep)
        self.clients.append(client)
        more.setdefault("wake_targets", lambda targets: self.told.append(set(targets)))
        return Executor(self.database, client, "acme", instance, clock=self.clock, **more)

    async def _sleep(self, seconds: float) -> None:
        self.on_sleep()
        self.clock.advance(max(seconds, 0.001))

    def ask(self, operation: str, *, notify: tuple[str, ...] = (), key: str | None = None, **parameters: Any) -> str:
        """Queue an action; return its id."""
        request = _request(operation, parameters, notify, key)
        return self.database.write_now(action_queue.accept, request, self.clock()).id

    def ask_all(self, operation: str, parameters: Iterable[Json]) -> list[str]:
        """Queue an action for each set of parameters in one transaction; return their ids."""
        requests = [_request(operation, each, (), None) for each in parameters]
        return self.database.write_now(lambda tx: [action_queue.accept(tx, each, self.clock()).id for each in requests])

    def action(self, action_id: str) -> Action:
        """Return an action in its current state."""
        (action,) = self.actions(action_id)
        return action

    def actions(self, *ids: str) -> list[Action]:
        """Return actions in their current state."""
        known = self.database.read_now(action_queue.load, ids)
        return [known[each] for each in ids]

    async def work(self, executor: Executor, *ids: str, hours: float = 3) -> list[Action]:
        """Let an executor work until these actions have ended; between tries time passes."""
        until = self.clock.now.timestamp() + hours * 3600
        waiting = list(ids)
        while waiting := [each.id for each in self.actions(*waiting) if each.state not in ENDED]:
            assert self.clock.now.timestamp() < until, self.actions(*waiting)
            pause = await executor.run_once()
            if pause is not None:
                self.clock.advance(max(pause, 1))
        return self.actions(*ids)

    async def carry_out(self, operation: str, **parameters: Any) -> Action:
        """Queue one action and see it to its end."""
        (ended,) = await self.work(self.executor(), self.ask(operation, **parameters))
        return ended

    def incident(self, title: str = "Disk almost full") -> Incident:
        """Return a new incident."""
        return self.account.trigger(title, service=self.account.directory.services[0])

    @property
    def alice(self) -> str:
        """Return a user's id."""
        return self.account.directory.user("alice").id

    @property
    def effects(self) -> list[Effect]:
        """Return the changes that requests made."""
        return self.account.effects

    def sent(self, method: str) -> list[tuple[str, Json]]:
        """Return the requests of a method: path and body."""
        return [(each.url.path, _body(each)) for each in self.line.requests if each.method == method]


def _request(operation: str, parameters: Json, notify: tuple[str, ...], key: str | None) -> action_queue.NewAction:
    checked = actions.check(actions.REGISTRY[operation], parameters)
    return action_queue.NewAction(
        checked.operation,
        "acme",
        checked.parameters,
        checked.incident_id,
        checked.batch_key,
        checked.secret,
        notify,
        key,
    )


def _body(request: httpx.Request) -> Json:
    body: Json = orjson.loads(request.content or b"{}")
    return body


@asynccontextmanager
async def opened(database: Database, clock: ManualClock, limits: Limits = MANY) -> AsyncIterator[Office]:
    """Yield an office with its executor running."""
    account = Account(clock=clock, seed=4)
    simulator = Simulator([account], limit=10**9)

    def prepare(tx: sa.Connection) -> None:
        connections.ensure(tx, ["acme"], (), clock())
        for instance in ("one", "two"):
            instances.register(tx, instance, "host", "0", clock())

    database.write_now(prepare)
    async with simulator.serving() as url:
        office = Office(account, simulator, url, database, clock, limits)
        try:
            yield office
        finally:
            for client in office.clients:
                await client.close()


@pytest.fixture
async def office(database: Database, clock: ManualClock) -> AsyncIterator[Office]:
    """Yield an account and a queue without any action."""
    async with opened(database, clock) as opened_office:
        yield opened_office
