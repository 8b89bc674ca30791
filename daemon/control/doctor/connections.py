"""Each PagerDuty account: whether it answers, what the key may do, and what its answers tell.

The calls take permits from the daemon's rate limiter, with the least priority. All but one only read. The exception,
made where actions are used, asks to update no incident, in nobody's name: it can change nothing, and the answer tells
whether the key may write.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import errors, pagerduty
from daemon.control.doctor import database as database_checks
from daemon.control.doctor.finding import Topic
from daemon.model import CLOCK_TOLERANCE, CallPriority
from daemon.pagerduty.permits import Permits
from daemon.runtime import identity
from daemon.storage import connections, schema
from daemon.storage.database import Database
from daemon.views import connection_health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import sqlalchemy as sa

    from daemon.control.doctor.examination import Examination
    from daemon.control.doctor.finding import Finding
    from daemon.model import Json
    from daemon.pagerduty import Client
    from daemon.pagerduty.client import ApiResponse
    from daemon.settings import Connection
    from daemon.views.connection_health import ConnectionStatus

PATIENCE = 20.0  # seconds for one call, with the wait for its permit
LEAST = CallPriority.RECONCILIATION
UNAUTHORIZED, FORBIDDEN, BAD_REQUEST, RATE_LIMITED = 401, 403, 400, 429
WRITE_SCOPE = "incidents.write"
MOST_TYPES = 5  # that a finding names
CHECK_KEY = "check api_key, region and proxy of the connection"


@dataclass(frozen=True, slots=True)
class Limiter:
    """The database with the permits: the daemon's, or a substitute where no daemon can share the budget.

    ``acting`` are the connections with actions.
    """

    database: Database
    acting: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Checkup:
    """One connection, and what its checks need."""

    connection: Connection
    client: Client
    limiter: Limiter
    topic: Topic
    uses_actions: bool


async def check(examination: Examination) -> list[Finding]:
    """Return the state of each connection."""
    settings = examination.settings
    if examination.offline or not settings.connections:
        return []
    async with _limiter(examination) as limiter, _clients(examination, limiter) as clients:
        checkups = [
            Checkup(
                connection,
                clients[name],
                limiter,
                Topic(name),
                bool(settings.actions_notify) or name in limiter.acting,
            )
            for name, connection in settings.connections.items()
        ]
        groups = await asyncio.gather(*(_checked(checkup, examination) for checkup in checkups))
    return [finding for group in groups for finding in group]


@contextlib.asynccontextmanager
async def _limiter(examination: Examination) -> AsyncIterator[Limiter]:
    """Yield the daemon's own database, if it can grant permits; without it, no daemon makes calls either."""
    database, names = examination.database, examination.settings.connections
    if await database_checks.is_usable(database):
        with contextlib.suppress(errors.DatabaseError):
            if await database.write(database_checks.write_nothing) is None and set(names) <= await database.read(
                _known
            ):
                acting = await database.read(_with_actions)
                yield Limiter(database, acting)
                return
    with tempfile.TemporaryDirectory(prefix="pagerelay-doctor-") as folder:
        substitute = Database(f"sqlite:///{Path(folder) / 'permits.db'}")
        try:
            await substitute.write(schema.metadata.create_all)
            await substitute.write(lambda tx: connections.ensure(tx, names, (), substitute.now(tx)))
            yield Limiter(substitute)
        finally:
            substitute.close()


def _known(tx: sa.Connection) -> set[str]:
    return set(tx.execute(schema.connections.select().with_only_columns(schema.connections.c.name)).scalars())


def _with_actions(tx: sa.Connection) -> frozenset[str]:
    query = schema.actions.select().with_only_columns(schema.actions.c.connection).distinct()
    return frozenset(tx.execute(query).scalars())


@contextlib.asynccontextmanager
async def _clients(examination: Examination, limiter: Limiter) -> AsyncIterator[Mapping[str, Client]]:
    """Yield the daemon's clients, or own ones."""
    if examination.clients is not None:
        yield examination.clients
        return
    async with contextlib.AsyncExitStack() as parts:
        clients = {}
        for name, connection in examination.settings.connections.items():
            clients[name] = client = _client(connection, limiter)
            parts.push_async_callback(client.close)
        yield clients


def _client(connection: Connection, limiter: Limiter) -> Client:
    return pagerduty.Client(connection, Permits(limiter.database, connection.name, connection.limits, identity.name()))


async def _checked(checkup: Checkup, examination: Examination) -> list[Finding]:
    """Return the state of one connection, even if the database fails in between."""
    try:
        return await _check(checkup, examination)
    except (errors.DatabaseError, errors.LostClaim) as error:
        return [checkup.topic.fail_with("connection.budget", error, "see the findings about the database")]


async def _check(checkup: Checkup, examination: Examination) -> list[Finding]:
    """Return the state of one connection. If it does not answer, there is a single finding."""
    topic = checkup.topic
    try:
        kind = await _kind(checkup)
        log = await _call(checkup, "GET", "/log_entries", limit="1")
        can_write = await _can_write(checkup) if checkup.uses_actions else None
    except errors.Permanent as error:
        return [await _rejected(checkup, error, examination)]
    except errors.Temporary as error:
        if error.status == RATE_LIMITED:
            return [
                topic.warn("connection.answer", "PagerDuty limits the rate", "wait, or find what else uses this key")
            ]
        return [topic.fail_with("connection.answer", error, "try again later; see also https://status.pagerduty.com")]
    except TimeoutError:
        return [await _late(checkup)]
    status = await _status(checkup)
    findings = [topic.ok("connection.answer", f"{_host(checkup.connection)} answers"), _key(topic, kind, can_write)]
    findings += [_log(topic, log), *_clock(topic, log, examination), _budget(topic, status)]
    return [*findings, _entry_types(topic, status)]


async def _call(checkup: Checkup, method: str, path: str, **query: str) -> ApiResponse:
    """Make one call. Raises TimeoutError if it takes too long, also if that is because permits are short."""
    body: Json | None = {"incidents": []} if method == "PUT" else None
    async with asyncio.timeout(PATIENCE):
        return await checkup.client.call(method, path, LEAST, query=list(query.items()), body=body)


async def _kind(checkup: Checkup) -> str:
    """Return to whom the key belongs: only a user's key has a user."""
    if checkup.connection.oauth is not None:
        return "an app's access token (OAuth)"
    try:
        await _call(checkup, "GET", "/users/me")
    except errors.Permanent as error:
        if error.status == BAD_REQUEST:
            return "an account's key"
        if error.status != FORBIDDEN:
            raise
        return "a key without access to users"
    return "a user's key"


async def _can_write(checkup: Checkup) -> bool | None:
    """Return whether the key may change incidents; None if the answer does not tell."""
    oauth = checkup.connection.oauth
    if oauth is not None:
        return None if oauth.scope is None else WRITE_SCOPE in oauth.scope.split()
    try:
        await _call(checkup, "PUT", "/incidents")
    except errors.Permanent as error:
        if error.status == FORBIDDEN:
            return False
        return True if error.status == BAD_REQUEST else None
    except errors.Temporary:
        return None
    return True


async def _rejected(checkup: Checkup, error: errors.Permanent, examination: Examination) -> Finding:
    """Return why PagerDuty rejected a call: after a 401 the other region is asked as well."""
    other = examination.elsewhere.get(checkup.connection.api_url)
    if error.status == UNAUTHORIZED and other is not None and checkup.connection.oauth is None:
        connection = dataclasses.replace(checkup.connection, api_url=other)
        client = _client(connection, checkup.limiter)
        try:
            await _kind(dataclasses.replace(checkup, connection=connection, client=client))
        except (errors.PagerDutyError, TimeoutError):
            pass
        else:
            found = f"{_host(checkup.connection)} does not know the key, but {_host(connection)} does"
            return checkup.topic.fail("connection.key", found, "set the connection's region to the other one")
        finally:
            await client.close()
    name = "connection.key" if error.status == UNAUTHORIZED else "connection.log"
    return checkup.topic.fail_with(name, error, CHECK_KEY)


async def _late(checkup: Checkup) -> Finding:
    status = await _status(checkup)
    if status.budget.left:
        remedy = "try again later; see also https://status.pagerduty.com"
        return checkup.topic.fail("connection.answer", f"no response within {PATIENCE:g} s", remedy)
    return _budget(checkup.topic, status)


async def _status(checkup: Checkup) -> ConnectionStatus:
    database, connection = checkup.limiter.database, checkup.connection
    (status,) = await database.read(
        lambda tx: connection_health.read(tx, {connection.name: connection}, (), database.now(tx))
    )
    return status


def _key(topic: Topic, kind: str, can_write: bool | None) -> Finding:  # noqa: FBT001 - the answer to a question
    name = "connection.key"
    if can_write is False:
        remedy = f"actions require write access: use a key with it, or add the scope {WRITE_SCOPE} to the app"
        return topic.warn(name, f"{kind}, read-only", remedy)
    return topic.ok(name, kind if can_write is None else f"{kind}, with write access")


def _log(topic: Topic, response: ApiResponse) -> Finding:
    name = "connection.log"
    entries = response.body.get("log_entries")
    if not isinstance(entries, list):
        return topic.fail(
            name, "the response has no log_entries", "check api_url, and whether a proxy responds instead"
        )
    if entries:
        return topic.ok(name, "log entries are visible")
    remedy = "nothing to do in a new account; else check which teams the key's user or app may see"
    return topic.warn(name, "no log entry is visible", remedy)


def _clock(topic: Topic, response: ApiResponse, examination: Examination) -> list[Finding]:
    if response.server_time is None:
        return []
    ahead = examination.clock() - response.server_time
    seconds = round(abs(ahead.total_seconds()))
    found = f"{seconds} s {'ahead of' if ahead.total_seconds() > 0 else 'behind'} PagerDuty's"
    if abs(ahead) < CLOCK_TOLERANCE:
        return [topic.ok("connection.clock", found)]
    remedy = "set this machine's clock, and keep it set with NTP: receivers reject signatures with a wrong time"
    return [topic.fail("connection.clock", found, remedy)]


def _budget(topic: Topic, status: ConnectionStatus) -> Finding:
    budget = status.budget
    found = f"{budget.left} of {budget.calls} calls left in {budget.period:g} s"
    if budget.left:
        return topic.ok("connection.budget", found)
    return topic.warn("connection.budget", found, "see what uses the calls: pagerelay status; poll less often")


def _entry_types(topic: Topic, status: ConnectionStatus) -> Finding:
    types = status.unknown_entry_types
    if not types:
        return topic.ok("connection.entry_types", "all known")
    names = ", ".join(f"{each.type} ({each.entries:,})" for each in types[:MOST_TYPES])
    more = f" and {len(types) - MOST_TYPES} more" if len(types) > MOST_TYPES else ""
    remedy = "report the names, or upgrade; nothing fails"
    return topic.warn("connection.entry_types", f"unknown: {names}{more}", remedy)


def _host(connection: Connection) -> str:
    return connection.api_url.partition("://")[2].strip("/")
