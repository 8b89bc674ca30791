"""The running daemons: alive, reachable, with the same configuration, and with loops that get something done."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

import daemon
from daemon import errors
from daemon.control.doctor import database as database_checks
from daemon.control.doctor.finding import Topic, split
from daemon.settings import fingerprint
from daemon.text import span
from daemon.views import connection_health, overview

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.control.doctor.examination import Examination
    from daemon.control.doctor.finding import Finding
    from daemon.settings import ApiSettings
    from daemon.views.overview import Instance

SECONDS = 5.0
CONFIG_HEADER = "Pagerelay-Config-Hash"
OTHER_CONFIGURATION = "restart it if the files are newer, else use its files and environment variables"
TOPIC = Topic("daemon")


@dataclass(frozen=True, slots=True)
class Seen:
    """The known state of the daemons: those alive in the database, and the answers of the API, if there are any.

    ``unready`` are the reasons why events may not flow. ``config_hash`` and ``status`` are the API's own.
    """

    live: tuple[Instance, ...] = ()
    unready: tuple[str, ...] = ()
    answers: bool = False
    status: int | None = None
    config_hash: str | None = None

    def is_known(self) -> bool:
        """Return whether there is a daemon to compare with: one of this database, or one that accepts the token."""
        return bool(self.live) or self.config_hash is not None


async def check(examination: Examination) -> list[Finding]:
    """Return the state of the daemons that use this database, and of the one whose API is configured."""
    has_database = await database_checks.is_usable(examination.database)
    live, unready = await _in_database(examination) if has_database else ((), ())
    seen, api = Seen(live, unready), examination.settings.api
    asks = not examination.offline and examination.address is not None and api is not None
    if asks and api is not None and examination.address is not None:
        seen = await _asked(examination.address, api, seen)
    if not live and not seen.answers:
        running = TOPIC.warn("daemon.running", "no daemon is running", "start it: pagerelay run")
        return [running] if has_database else []
    findings = [_alive(examination, seen)]
    if asks:
        findings.append(_api(examination, seen))
    if seen.is_known():
        findings += [_configuration(examination, seen), _loops(seen)]
    return findings


async def _in_database(examination: Examination) -> tuple[tuple[Instance, ...], tuple[str, ...]]:
    """Return the daemons with a heartbeat, and why events may not flow."""
    database, settings = examination.database, examination.settings

    def look(tx: sa.Connection) -> tuple[tuple[Instance, ...], tuple[str, ...]]:
        now = database.now(tx)
        live = overview.live_instances(tx, now)
        unready = connection_health.read_unready(tx, settings.connections, settings.triggers.values(), now)
        return live, tuple(unready) if live else ()

    try:
        return await database.read(look)
    except errors.DatabaseError:
        return (), ()


async def _asked(address: str, api: ApiSettings, seen: Seen) -> Seen:
    """Return what the API adds. Two requests: monitoring's, without a token, and one that needs the token."""
    token = api.token or api.read_token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    try:
        async with httpx.AsyncClient(base_url=address, timeout=SECONDS, trust_env=False) as http:
            ready = await http.get("/readyz")
            status = await http.get("/v1/status", headers=headers)
    except httpx.HTTPError:
        return seen
    reasons: Any = []
    if ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE and "json" in ready.headers.get("content-type", ""):
        reasons = ready.json().get("unready", [])
    unready = tuple(map(str, reasons)) if isinstance(reasons, list) else ()
    return Seen(
        seen.live,
        unready or seen.unready,
        answers=True,
        status=status.status_code,
        config_hash=status.headers.get(CONFIG_HEADER),
    )


def _alive(examination: Examination, seen: Seen) -> Finding:
    if not seen.live:
        return TOPIC.ok("daemon.running", "answers")
    now = examination.clock()
    running = [f"{each.hostname} for {span((now - each.started_at).total_seconds())}" for each in seen.live]
    return TOPIC.ok("daemon.running", ", ".join(running))


def _api(examination: Examination, seen: Seen) -> Finding:
    name = "daemon.api"
    if not seen.answers:
        return TOPIC.fail(name, f"{examination.address} does not respond", "check api.listen, and the daemon's log")
    if seen.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        remedy = "restart the daemon if api.token is new, else use its files and environment variables"
        return TOPIC.fail(name, f"{examination.address} does not accept the configured api.token", remedy)
    if seen.status != HTTPStatus.OK:
        remedy = "check api.listen, and the daemon's log"
        return TOPIC.fail(name, f"{examination.address} answers /v1/status with {seen.status}", remedy)
    return TOPIC.ok(name, f"{examination.address} answers")


def _configuration(examination: Examination, seen: Seen) -> Finding:
    """Compare with daemons of this version: others may have other keys."""
    name, ours = "daemon.configuration", fingerprint(examination.settings)
    for each in seen.live:
        if each.version == daemon.__version__ and each.config_hash not in {None, ours}:
            return TOPIC.warn(name, f"the daemon on {each.hostname} has a different one", OTHER_CONFIGURATION)
    if seen.config_hash not in {None, ours}:
        return TOPIC.warn(name, f"the daemon at {examination.address} has a different one", OTHER_CONFIGURATION)
    return TOPIC.ok(name, "the same")


def _loops(seen: Seen) -> Finding:
    if not seen.unready:
        return TOPIC.ok("daemon.loops", "alive")
    found, remedy = split("; ".join(seen.unready))
    return TOPIC.fail("daemon.loops", found, remedy or "see the other findings, pagerelay status, and the daemon's log")
