"""Accounts behind one address, with faults, a list of calls, and controls."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import orjson

from daemon.simulator import controls, events_api, http, oauth_app, records, refusals, routes
from daemon.simulator.account import Account, NoSuchIncidentError
from daemon.simulator.faults import Fault, Faults
from daemon.simulator.http import SimResponse, json_answer
from daemon.simulator.lifecycles import Lifecycles
from daemon.simulator.quirks import Habits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from daemon.simulator.http import SimRequest

TOKEN = "Token token="  # noqa: S105 - how a key is sent
BEARER = "Bearer "
LIMIT_CALLS = 960
LIMIT_PERIOD = timedelta(seconds=60)
NOTHING_DONE = SimResponse(504)


@dataclass(frozen=True, slots=True)
class Call:
    """One received call."""

    at: datetime
    account: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    status: int
    fault: str | None


class Simulator:
    """PagerDuty in memory. ``calls`` are those with a known key, oldest first.

    ``limit`` is the number of calls per account in 60 s before the response is 429.
    """

    def __init__(self, accounts: Iterable[Account], *, limit: int = LIMIT_CALLS, seed: int = 0) -> None:
        self.accounts = {account.api_key: account for account in accounts}
        self.calls: list[Call] = []
        self.faults = Faults(seed)
        self._limit = limit
        self._recent: dict[str, deque[datetime]] = {key: deque() for key in self.accounts}
        for account in self.accounts.values():
            account.log.late = self.faults.lateness

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback inside the context; yield the URL. Raises PagerelayError if the port is in use."""
        async with http.listening(self.answer, port) as url:
            yield url

    async def answer(self, request: SimRequest) -> SimResponse:
        """Return the response to any request."""
        if request.path.startswith("/simulator"):
            return self._control(request)
        if oauth_app.is_grant(request):
            return _stamped(self._grant(request), datetime.now(UTC))
        account = self._whose(request)
        if account is None:
            return _stamped(self._unknown(request), datetime.now(UTC))
        left = None if events_api.is_event(request) else self._left(account)
        fault = self.faults.draw(request)
        if left is not None and left < 0:
            fault = Fault.RATE_LIMITED
        if request.get("offset") not in {None, "0"} and self.faults.happens(Fault.SHIFT):
            account.trigger("Something happens while a list is being read")
        answer = self._respond(account, request, fault)
        now = account.log.now()
        self.calls.append(
            Call(now, account.name, request.method, request.path, request.query, answer.status, fault and fault.value)
        )
        return _stamped(answer, now, left)

    def _whose(self, request: SimRequest) -> Account | None:
        """Return the account of a request: by API key, or by service key for an event."""
        if events_api.is_event(request):
            return events_api.account(self.accounts.values(), request)
        if token := _access_token(request):
            return next((each for each in self.accounts.values() if each.app.knows(token)), None)
        scheme, token, key = request.headers.get("authorization", "").partition(TOKEN)
        return self.accounts.get(key) if token and not scheme else None

    def _grant(self, request: SimRequest) -> SimResponse:
        account = self.accounts.get(oauth_app.client(request) or "")
        return oauth_app.unknown_client() if account is None else account.app.grant(request)

    def _unknown(self, request: SimRequest) -> SimResponse:
        if events_api.is_event(request):
            return events_api.answer(self.accounts.values(), request)
        return refusals.error(401, 2006, "Authentication failed")

    def _respond(self, account: Account, request: SimRequest, fault: Fault | None) -> SimResponse:
        """Return the response after a fault. The fault decides whether a write takes effect."""
        answer = NOTHING_DONE
        if fault is None or not request.is_write or self.faults.lets_through(fault):
            answer = self._perform(account, request)
        if fault is not None:
            return self.faults.apply_fault(fault, request, answer)
        return _swapped(answer) if self.faults.happens(Fault.SWAPPED) else answer

    def _perform(self, account: Account, request: SimRequest) -> SimResponse:
        if events_api.is_event(request):
            return events_api.answer([account], request)
        if (token := _access_token(request)) and (refusal := account.app.refusal(token, request)) is not None:
            return refusal
        return _linked(routes.answer(account, request), request)

    def _left(self, account: Account) -> int:
        """Return how many calls the account has left in this period, counting this one."""
        recent, now = self._recent[account.api_key], account.log.now()
        while recent and recent[0] <= now - LIMIT_PERIOD:
            recent.popleft()
        recent.append(now)
        return self._limit - len(recent)

    def _control(self, request: SimRequest) -> SimResponse:
        """Respond to a request that PagerDuty does not have: inspection and controls."""
        try:
            return self._controlled(request)
        except controls.UnknownError as error:
            return json_answer({"error": str(error), "known": error.known}, 404)
        except NoSuchIncidentError as error:
            return json_answer({"error": f"unknown incident, or no open one: {error.args[0]}"}, 404)
        except (TypeError, ValueError, AttributeError) as error:
            return json_answer({"error": str(error)}, 400)

    def _controlled(self, request: SimRequest) -> SimResponse:
        route = f"{request.method} {request.path}"
        if route not in CONTROLS:
            raise controls.UnknownError("path", route, sorted(CONTROLS))
        return CONTROLS[route](self, request)

    def _account(self, request: SimRequest) -> Account:
        """Return the account named in the query, else the first."""
        name = request.get("account")
        for account in self.accounts.values():
            if name in {None, account.name}:
                return account
        raise controls.UnknownError("account", name, (account.name for account in self.accounts.values()))

    def show_ledger(self, request: SimRequest) -> SimResponse:
        """Return everything that really happened."""
        account = self._account(request)
        return json_answer({"ledger": [dataclasses.asdict(line) for line in account.log.ledger]})

    def show_effects(self, request: SimRequest) -> SimResponse:
        """Return what requests changed, whatever response their callers saw."""
        account = self._account(request)
        return json_answer({"effects": [dataclasses.asdict(effect) for effect in account.effects]})

    def show_calls(self, _request: SimRequest) -> SimResponse:
        """Return the calls with a known key."""
        return json_answer({"calls": [dataclasses.asdict(call) for call in self.calls]})

    def set_faults(self, request: SimRequest) -> SimResponse:
        """Set faults: ``{"rates": {fault: 0 to 1}, "once": [fault], "seed": int, "hang_seconds": float}``."""
        body = orjson.loads(request.body or b"{}")
        self.faults.set(body.get("rates", {}), body.get("seed"))
        self.faults.once(*(Fault(name) for name in body.get("once", [])))
        self.faults.hang_seconds = float(body.get("hang_seconds", self.faults.hang_seconds))
        return json_answer({"faults": [fault.value for fault in Fault]})

    def set_account(self, request: SimRequest) -> SimResponse:
        """Change the account: ``{"read_only": true, "habits": {…}, "emails": {"alice": …}, "oauth": {…}}``."""
        account = self._account(request)
        body = orjson.loads(request.body or b"{}")
        account.habits = Habits.model_validate(account.habits.model_dump() | body.get("habits", {}))
        account.read_only = bool(body.get("read_only", account.read_only))
        account.app.change(body.get("oauth", {}))
        for who, email in body.get("emails", {}).items():
            controls.user(account, who).email = str(email)
        return json_answer({"read_only": account.read_only, "habits": account.habits.model_dump()})

    def let_happen(self, request: SimRequest) -> SimResponse:
        """Make a change: ``{"do": "trigger", "title": …}``, ``{"do": "acknowledge", "incident": id}``."""
        body = orjson.loads(request.body or b"{}")
        return json_answer({"incident_id": controls.apply(self._account(request), body)}, 201)


def _access_token(request: SimRequest) -> str:
    """Return the access token of a request, empty if it has none."""
    scheme, bearer, token = request.headers.get("authorization", "").partition(BEARER)
    return token if bearer and not scheme else ""


def _stamped(answer: SimResponse, now: datetime, left: int | None = None) -> SimResponse:
    """Add the headers that every response has, except a bare 429."""
    headers = {"date": format_datetime(now.astimezone(UTC), usegmt=True), "x-request-id": uuid.uuid4().hex}
    if left is not None and answer.status != 429:  # noqa: PLR2004 - a status
        headers |= {"ratelimit-limit": str(LIMIT_CALLS), "ratelimit-remaining": str(max(left, 0))}
        headers["ratelimit-reset"] = str(int(LIMIT_PERIOD.total_seconds()))
    return dataclasses.replace(answer, headers=headers | answer.headers)


def _linked(answer: SimResponse, request: SimRequest) -> SimResponse:
    """Point links to the API to this server, so that clients can follow them."""
    here = f"http://{request.headers['host']}" if "host" in request.headers else records.API
    return dataclasses.replace(answer, body=answer.body.replace(records.API.encode(), here.encode()))


def _swapped(answer: SimResponse) -> SimResponse:
    """Swap a creating entry and the assignment of the same second in the list."""
    try:
        body = orjson.loads(answer.body)
        entries = body["log_entries"]
    except (ValueError, KeyError):
        return answer
    for newer in range(len(entries) - 1):
        pair = entries[newer], entries[newer + 1]
        if [entry["type"] for entry in pair] == ["assign_log_entry", "trigger_log_entry"] and (
            pair[0]["created_at"][:19] == pair[1]["created_at"][:19]
            and pair[0]["incident"]["id"] == pair[1]["incident"]["id"]
        ):
            entries[newer : newer + 2] = reversed(pair)
    return dataclasses.replace(answer, body=orjson.dumps(body))


CONTROLS: dict[str, Callable[[Simulator, SimRequest], SimResponse]] = {
    "GET /simulator/ledger": Simulator.show_ledger,
    "GET /simulator/effects": Simulator.show_effects,
    "GET /simulator/calls": Simulator.show_calls,
    "POST /simulator/faults": Simulator.set_faults,
    "POST /simulator/account": Simulator.set_account,
    "POST /simulator/happen": Simulator.let_happen,
}


async def serve(
    *, port: int, rate: float, seed: int | None, api_key: str, stop: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Serve one account until ``stop`` is set; ``say`` receives instructions. Raises PagerelayError on errors."""
    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    account = Account(api_key=api_key, seed=chosen)
    lives = asyncio.create_task(Lifecycles(account, rate=rate, seed=chosen).run())
    try:
        async with Simulator([account], seed=chosen).serving(port) as url:
            key = account.directory.services[0].key
            say(_INTRODUCTION.format(url=url, api_key=api_key, service_key=key, rate=rate, seed=chosen))
            await stop.wait()
    finally:
        lives.cancel()


_INTRODUCTION = """\
A simulated PagerDuty account: {url}
  in config.yaml      connections: {{acme: {{api_key: {api_key}, api_url: {url}, events_url: {url}}}}}
  a service's key     {service_key}
  incidents           {rate:g} a minute (--rate), seed {seed} (--seed)
make one happen       curl {url}/simulator/happen -d '{{"do": "trigger", "title": "Disk full"}}'
                      curl {url}/simulator/happen -d '{{"do": "acknowledge", "by": "alice"}}'
                      (an unknown verb in "do" lists all verbs)
make calls fail       curl {url}/simulator/faults -d '{{"rates": {{"server_error": 0.3}}}}'
                      curl {url}/simulator/faults -d '{{"once": ["reset_after"]}}'
  what happened       curl {url}/simulator/ledger
  what was called     curl {url}/simulator/calls
what calls changed    curl {url}/simulator/effects
Stop with Ctrl-C."""
