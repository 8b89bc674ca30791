"""A minimal PagerDuty for testing a poller: an HTTP transport over a list of log entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import SecretStr

from daemon import pagerduty
from daemon.pagerduty.permits import Permits
from daemon.settings import Connection, Limits
from tests.detection.stories import iso, user

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.model import Json
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

MANY = Limits(calls=100_000)
AFTER = {"acknowledge": "acknowledged", "resolve": "resolved"}


@dataclass
class FakePagerDuty:
    """An account. ``skew`` is how far its clock is ahead; ``fail`` may return a response in its place."""

    clock: ManualClock
    skew: timedelta = timedelta(0)
    entries: list[Json] = field(default_factory=list)
    incidents: dict[str, Json] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    fail: Callable[[httpx.Request], httpx.Response | None] = lambda _request: None

    def now(self) -> datetime:
        """Return the account's time."""
        return self.clock() + self.skew

    def happen(self, kind: str, incident: str = "P1", *users: str, at: datetime | None = None, **more: Any) -> str:
        """Write a log entry, now or back-dated; return its id."""
        when = iso(at or self.now())
        entry_id = f"R{len(self.entries) + 1}"
        if incident not in self.incidents:
            first = {"first_trigger_log_entry": {"id": entry_id}}
            whole = {"id": incident, "status": "triggered", "created_at": when, "summary": incident}
            self.incidents[incident] = whole | first
        if kind in AFTER:
            self.incidents[incident]["status"] = AFTER[kind]
        entry: Json = {
            "id": entry_id,
            "type": f"{kind}_log_entry",
            "created_at": when,
            "incident": self.incidents[incident],
        }
        if users:
            entry["assignees"] = [user(each) for each in users]
        self.entries.append(entry | more)
        return entry_id

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Return the response to one request."""
        self.requests.append(request)
        failure = self.fail(request)
        if failure is not None:
            return failure
        query = request.url.params
        path = request.url.path
        if path == "/log_entries":
            log = self._log(query["since"], query["until"])
            if "channels" not in query.get_list("include[]"):
                log = [{key: value for key, value in each.items() if key != "channel"} for each in log]
            return self._page("log_entries", log, query)
        if path == "/incidents":
            records = [each for each in self.incidents.values() if each["status"] in query.get_list("statuses[]")]
            return self._page("incidents", records, query)
        if path == "/users":
            records = [{"id": user_id, "email": email} for email, user_id in self.users.items()]
            return self._page("users", records, query)
        incident = self.incidents.get(path.removeprefix("/incidents/"))
        return self._json({"incident": incident}) if incident else self._json({"error": {"code": 2100}}, 404)

    def _log(self, since: str, until: str) -> list[Json]:
        records = [each for each in self.entries if since <= each["created_at"] < until]
        return sorted(records[::-1], key=lambda each: str(each["created_at"]), reverse=True)  # noqa: C415 - the sort is stable

    def _page(self, name: str, records: list[Json], query: httpx.QueryParams) -> httpx.Response:
        limit, offset = int(query["limit"]), int(query["offset"])
        more = offset + limit < len(records)
        return self._json(
            {name: records[offset : offset + limit], "more": more, "limit": limit, "offset": offset, "total": None}
        )

    def _json(self, body: Json, status: int = 200) -> httpx.Response:
        date = format_datetime(self.now().astimezone(UTC).replace(microsecond=0), usegmt=True)
        return httpx.Response(status, json=body, headers={"date": date, "x-request-id": f"req-{len(self.requests)}"})

    def client(self, database: Database, instance: str = "one", limits: Limits = MANY) -> pagerduty.Client:
        """Return a client of this account that never waits."""

        async def at_once(_seconds: float) -> None:
            return

        permits = Permits(database, "acme", limits, instance, sleep=at_once)
        return pagerduty.Client(connection(limits), permits, transport=httpx.MockTransport(self.answer), sleep=at_once)


def connection(limits: Limits = MANY, **more: Any) -> Connection:
    """Return the connection acme."""
    return Connection("acme", SecretStr("key"), "https://pd.invalid", "https://events.invalid", limits, **more)
