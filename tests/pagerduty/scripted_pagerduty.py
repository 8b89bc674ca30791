"""A fake PagerDuty behind a transport, and a client of it: real permits, a clock advanced by pauses."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import SecretStr

from daemon import pagerduty
from daemon.pagerduty.permits import Permits
from daemon.settings import Connection, Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime, timedelta

    from daemon.model import CallPriority
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

KEY = "canary-key-that-nobody-sees"
MANY = Limits(calls=100_000)


def listing(name: str, *records: Any, **more: Any) -> httpx.Response:
    """Return one page, by default the last one."""
    return httpx.Response(200, json={name: list(records), "more": False} | more)


def refusal(status: int, code: object = None, *, headers: dict[str, str] | None = None) -> httpx.Response:
    """Return an error response as PagerDuty writes it."""
    error = {"message": "It said so", "code": code, "errors": ["This is wrong"]}
    return httpx.Response(status, json={"error": error}, headers=headers)


class FreePermits(Permits):
    """Permits for every call at once, without asking the database."""

    @asynccontextmanager
    async def permit(self, priority: CallPriority, room: int = 1) -> AsyncIterator[None]:
        """Let the call be made."""
        yield

    async def block(self, delay: timedelta | None) -> None:
        """Block nothing."""


@dataclass
class ScriptedPagerDuty:
    """Responds with ``answers`` in turn, repeating the last one; records requests and their times."""

    database: Database
    clock: ManualClock
    answers: list[httpx.Response | Exception] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Return the response to one request."""
        self.requests.append(request)
        self.times.append(self.clock())
        response = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(response, Exception):
            raise response
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)

    def seconds(self) -> list[float]:
        """Return the seconds from the first request to each request."""
        return [(each - self.times[0]).total_seconds() for each in self.times]

    async def pause(self, seconds: float) -> None:
        """Advance the clock as the client's own pause would."""
        self.pauses.append(seconds)
        self.clock.advance(seconds)

    async def wait(self, seconds: float) -> None:
        """Waiting for a permit."""
        self.clock.advance(seconds)

    def permits(self, limits: Limits = MANY, instance: str = "one") -> Permits:
        """Return the connection's permits."""
        return Permits(self.database, "acme", limits, instance, sleep=self.wait)

    def client(
        self, *answers: httpx.Response | Exception, url: str = "https://pagerduty.invalid", **more: Any
    ) -> pagerduty.Client:
        """Return a client that gets these responses, unless ``transport`` is another one."""
        self.answers = list(answers)
        connection = Connection("acme", SecretStr(KEY), url, "https://events.invalid", proxy=more.pop("proxy", None))
        more.setdefault("transport", httpx.MockTransport(self.answer))
        permits = more.pop("permits", None) or self.permits()
        return pagerduty.Client(connection, permits, sleep=self.pause, **more)
