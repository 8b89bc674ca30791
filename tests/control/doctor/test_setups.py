"""A good set-up, and many with one fault each: ``doctor`` finds exactly that."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from daemon.control.doctor import Status, connections, daemons, database, probe
from daemon.settings import Egress, OAuth2, Tls
from daemon.simulator import Account, Fault, Simulator
from daemon.storage import permits, schema, sqlite, unknown_entry_types
from daemon.storage.database import system_clock
from daemon.text import iso
from tests.control.doctor.world import KEY, World, existing
from tests.harness.certificates import Authority
from tests.harness.listening import listening
from tests.harness.receivers import Receiver, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import sqlalchemy as sa

    Break = Callable[[World, pytest.MonkeyPatch], object]

FAIL, WARN = Status.FAIL, Status.WARN
CLOSED = "127.0.0.1:1"
DAYS = 90
MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:40 / {folder} rw,relatime shared:2 - nfs4 filer:/export rw
41 22 0:41 / /unrelated rw - tmpfs tmpfs rw
"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LISTEN_SECONDS", 0.001)


@pytest.fixture
async def world(tmp_path: Path, database_url: str, authority: Authority) -> AsyncIterator[World]:
    tls = authority.server(tmp_path, "127.0.0.1", "hooks.example", days=DAYS)
    async with existing(tmp_path, database_url, tls, authority.pem) as environment:
        yield environment


async def test_a_good_set_up_has_no_finding_that_is_not_ok(world: World) -> None:
    findings = await world.examine()
    assert [each for each in findings if each.status is not Status.OK or each.remedy] == []
    names = {each.name for each in findings}
    assert names >= {
        *("configuration", "database.connection", "database.writable", "database.encoding", "database.version"),
        *("database.schema", "connection.answer", "connection.key", "connection.log", "connection.clock"),
        *("connection.budget", "connection.entry_types", "target.address", "target.connection", "target.tls"),
        *("daemon.running", "daemon.configuration", "daemon.loops"),
    }
    assert {"database.disk", "database.file_system"} <= names or not world.url.startswith("sqlite")


async def test_nothing_is_changed_or_sent(world: World) -> None:
    world.change(actions_notify=("ops",))
    before = len(world.account.log.ledger)
    assert await world.problems() == []
    assert (world.account.effects, len(world.account.log.ledger), world.receiver.got) == ([], before, [])
    calls = [(call.method, call.path) for call in world.simulator.calls]
    assert calls == [("GET", "/users/me"), ("GET", "/log_entries"), ("PUT", "/incidents")]


async def test_calls_are_only_read_where_no_actions_are_used(world: World) -> None:
    await world.examine()
    assert {call.method for call in world.simulator.calls} == {"GET"}


async def test_offline_opens_no_connection_and_sends_nothing(world: World) -> None:
    findings = await world.examine(offline=True)
    assert {each.name.partition(".")[0] for each in findings} == {"configuration", "database", "daemon"}
    assert (world.simulator.calls, world.receiver.connections) == ([], 0)


async def test_samples_are_sent_only_when_requested(world: World) -> None:
    findings = {each.name: each for each in await world.examine(send=True)}
    assert findings["target.sample"].status is Status.OK
    assert f"{len(world.receiver.got)} accepted" == findings["target.sample"].found
    assert all(request.json for request in world.receiver.got)


async def test_the_calls_of_the_doctor_count_in_the_daemons_budget(world: World) -> None:
    findings = {each.name: each for each in await world.examine()}
    assert findings["connection.budget"].found == "28 of 30 calls left in 60 s"


@pytest.mark.parametrize(
    ("owner", "kind"), [(None, "an account's key"), ("alice", "a user's key")], ids=["account", "user"]
)
async def test_the_kind_of_the_key_is_shown(world: World, owner: str | None, kind: str) -> None:
    world.account.user_key = None if owner is None else world.account.directory.user(owner)
    findings = {each.name: each for each in await world.examine()}
    assert findings["connection.key"].found == kind


async def test_an_app_without_the_scope_to_write_is_a_warning_where_actions_are_used(world: World) -> None:
    url = f"{world.settings.connections['acme'].api_url}/oauth/token"
    scope = "as_account-us.acme incidents.read users.read"
    world.change_connection(api_key=None, oauth=OAuth2(SecretStr(url), KEY, SecretStr(KEY), scope, in_body=True))
    findings = {each.name: each for each in await world.examine()}
    assert findings["connection.key"].found == "an app's access token (OAuth)"
    world.change(actions_notify=("ops",))
    (problem,) = await world.problems()
    assert (problem.name, problem.status) == ("connection.key", WARN)
    assert "incidents.write" in problem.remedy
    wider = f"{scope} incidents.write"
    world.change_connection(oauth=OAuth2(SecretStr(url), KEY, SecretStr(KEY), wider, in_body=True))
    assert await world.problems() == []
    assert {call.method for call in world.simulator.calls} == {"GET"}


# --- one fault each


def clock_is_off(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.more["clock"] = lambda: system_clock() + timedelta(minutes=5)


def budget_is_used_up(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(connections, "PATIENCE", 0.2)
    now, limits = system_clock() + timedelta(seconds=5), world.settings.connections["acme"].limits
    rows = [{"connection": "acme", "at": now, "priority": 1} for _ in range(limits.calls)]
    world.write(lambda tx: tx.execute(schema.permits.insert(), rows))
    assert permits.span(limits) > timedelta(seconds=10)


def type_is_unknown(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.write(lambda tx: unknown_entry_types.add(tx, "acme", {"odd_log_entry": 3}, system_clock()))


def key_is_read_only(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.account.read_only = True
    world.change(actions_notify=("ops",))


def log_is_empty(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.account.log._by_time.clear()


def name_is_unknown(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.change_target(url=SecretStr("https://hooks.example/canary-path"))
    world.more["lookup"] = lambda _name, _port: (_ for _ in ()).throw(socket.gaierror(-2, "Name or service not known"))


def address_is_refused(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.change_target(url=SecretStr("https://hooks.example/canary-path"), egress=Egress(private=False))
    world.more["lookup"] = lambda _name, _port: ("10.0.0.1",)


def daemon_is_silent(world: World, _patch: pytest.MonkeyPatch) -> None:
    past = system_clock() - timedelta(minutes=1)
    world.write(lambda tx: tx.execute(schema.instances.update().values(heartbeat_at=past)))


def loops_are_stuck(world: World, _patch: pytest.MonkeyPatch) -> None:
    past = system_clock() - timedelta(minutes=10)
    world.write(lambda tx: tx.execute(schema.connections.update().values(last_success_at=past)))


def reject_samples(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.receiver.behave = lambda _request: Reply(500)
    world.more["send"] = True


def target_state(**values: Any) -> Break:
    """Let the daemon have recorded this about the target, and an attempt that the receiver answered with words."""

    def record(world: World, _patch: pytest.MonkeyPatch) -> None:
        now = system_clock()
        waiting = {"message_id": "msg_1", "target": "ops", "incident_id": "P1", "attempts": 1, "created_at": now}
        attempt = {"delivery_id": 1, "at": now, "duration_ms": 9, "status": 503, "error": "answered 503"}

        def write(tx: sa.Connection) -> None:
            tx.execute(schema.targets.insert().values(name="ops", last_failed=1, **values))
            tx.execute(schema.deliveries.insert().values(id=1, state="pending", next_attempt_at=now, **waiting))
            tx.execute(schema.attempts.insert().values(answer="back\n at noon", **attempt))

        world.write(write)

    return record


LONG_AGO = system_clock() - timedelta(hours=3, minutes=1)
BROKEN: dict[str, tuple[Break, Status, str, str]] = {
    "hint": (
        lambda world, _: world.more.update(hints=["targets.ops.headers.X-Key: has quotes around it"]),
        *(WARN, "configuration", "targets.ops.headers.X-Key"),
    ),
    "wrong key": (
        lambda world, _: world.change_connection(api_key=SecretStr("canary-wrong")),
        *(FAIL, "connection.key", "answered /users/me with 401"),
    ),
    "unreachable": (
        lambda world, _: world.change_connection(api_url=f"http://{CLOSED}"),
        *(FAIL, "connection.answer", "127.0.0.1:1 refused the connection"),
    ),
    "server error": (
        lambda world, _: world.simulator.faults.set({Fault.SERVER_ERROR: 1}),
        *(FAIL, "connection.answer", "answered /users/me with 50"),
    ),
    "rate-limited": (
        lambda world, _: world.simulator.faults.once(Fault.RATE_LIMITED),
        *(WARN, "connection.answer", "PagerDuty limits the rate"),
    ),
    "proxy's page": (
        lambda world, _: world.simulator.faults.set({Fault.NOT_JSON: 1}),
        *(FAIL, "connection.answer", "something other than a JSON object"),
    ),
    "read-only key": (key_is_read_only, WARN, "connection.key", "an account's key, read-only"),
    "empty log": (log_is_empty, WARN, "connection.log", "no log entry is visible"),
    "clock": (clock_is_off, FAIL, "connection.clock", "s ahead of PagerDuty's"),
    "budget": (budget_is_used_up, WARN, "connection.budget", "0 of 30 calls left in 60 s"),
    "unknown type": (type_is_unknown, WARN, "connection.entry_types", "unknown: odd_log_entry (3)"),
    "unknown name": (name_is_unknown, FAIL, "target.name", "hooks.example cannot be resolved"),
    "refused address": (address_is_refused, FAIL, "target.addresses", "hooks.example resolves to 10.0.0.1"),
    "closed port": (
        lambda world, _: world.change_target(url=SecretStr(f"https://{CLOSED}/canary-path")),
        *(FAIL, "target.connection", "127.0.0.1 port 1: connection refused"),
    ),
    "unknown authority": (
        lambda world, _: world.change_target(tls=None),
        *(FAIL, "target.tls", "certificate rejected: unable to get local issuer certificate"),
    ),
    "no TLS": (
        lambda world, _: world.change_target(
            url=SecretStr(world.settings.connections["acme"].api_url.replace("http", "https"))
        ),
        *(FAIL, "target.tls", "TLS failed: "),
    ),
    "closed proxy": (
        lambda world, _: world.change_target(proxy=SecretStr(f"http://user:canary-proxy@{CLOSED}")),
        *(FAIL, "target.proxy", "127.0.0.1 port 1: connection refused"),
    ),
    "rejected samples": (reject_samples, FAIL, "target.sample", "not accepted: incident."),
    "failing target": (
        target_state(failing_since=LONG_AGO, last_error="answered 503"),
        *(
            FAIL,
            "target.deliveries",
            f'{iso(LONG_AGO.replace(microsecond=0))}: answered 503: "back at noon"; 1 pending',
        ),
    ),
    "refusing target": (
        target_state(refusing_since=LONG_AGO, last_error="answered 400"),
        *(FAIL, "target.deliveries", "has rejected every message for 3 h, since "),
    ),
    "nothing accepted": (
        target_state(),
        *(FAIL, "target.deliveries", 'nothing accepted yet: answered 503: "back at noon"; 1 pending'),
    ),
    "paused target": (
        target_state(paused_at=LONG_AGO, paused_reason="paused by hand"),
        *(WARN, "target.deliveries", "paused by hand for 3 h, since "),
    ),
    "gone target": (
        target_state(paused_at=LONG_AGO, paused_reason="answered 410"),
        *(WARN, "target.deliveries", "paused: answered 410 for 3 h, since "),
    ),
    "blocked target": (
        target_state(blocked_until=system_clock() + timedelta(hours=25, minutes=30)),
        *(WARN, "target.deliveries", "backing off for another 25 h at the target's request; 1 pending"),
    ),
    "no daemon": (daemon_is_silent, WARN, "daemon.running", "no daemon is running"),
    "other configuration": (
        lambda world, _: world.write(lambda tx: tx.execute(schema.instances.update().values(config_hash="other"))),
        *(WARN, "daemon.configuration", "the daemon on db1 has a different one"),
    ),
    "stuck loops": (loops_are_stuck, FAIL, "daemon.loops", "connection acme: not polled for 60"),
    "API": (
        lambda world, _: world.more.update(address=f"http://{CLOSED}"),
        *(FAIL, "daemon.api", "http://127.0.0.1:1 does not respond"),
    ),
}


async def test_a_daemon_that_refuses_the_token_is_not_compared_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> daemons.Seen:
        return daemons.Seen(answers=True, status=401)

    monkeypatch.setattr(daemons, "_asked", refused)
    daemon_is_silent(world, monkeypatch)
    world.more.update(address=f"http://{CLOSED}")
    names = {each.name: each.status for each in await world.examine() if each.name.startswith("daemon.")}
    assert names == {"daemon.running": Status.OK, "daemon.api": Status.FAIL}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_set_up_has_exactly_one_finding(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it, status, check, words = BROKEN[name]
    break_it(world, monkeypatch)
    (problem,) = await world.problems()
    assert (problem.name, problem.status) == (check, status)
    assert words in problem.found
    assert problem.remedy
    assert "canary" not in f"{problem}"


async def test_a_failing_target_is_reported_without_the_network_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    target_state(failing_since=LONG_AGO, last_error="answered 503")(world, monkeypatch)
    (problem,) = await world.problems(offline=True)
    assert (problem.name, problem.subject, problem.status) == ("target.deliveries", "ops", FAIL)
    assert problem.remedy.endswith("pagerelay targets resume ops")


async def test_a_target_whose_own_checks_show_why_it_fails_is_one_finding(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    target_state(failing_since=LONG_AGO, last_error="127.0.0.1 refused the connection")(world, monkeypatch)
    world.change_target(url=SecretStr(f"https://{CLOSED}/canary-path"))
    assert [each.name for each in await world.problems()] == ["target.connection"]


async def test_a_target_that_accepts_messages_is_ok(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    target_state(last_success_at=LONG_AGO)(world, monkeypatch)
    findings = {each.name: each for each in await world.examine()}
    assert findings["target.deliveries"].status is Status.OK
    assert findings["target.deliveries"].found == "the last message was accepted 3 h ago"


async def test_a_key_of_the_other_region_is_recognised(world: World) -> None:
    async with Simulator([Account(api_key="another")]).serving() as here:
        there = world.settings.connections["acme"].api_url
        world.change_connection(api_url=here)
        (problem,) = await world.problems(elsewhere={here: there})
    assert (problem.name, problem.status) == ("connection.key", FAIL)
    assert problem.found.endswith(f"but {there.removeprefix('http://')} does")
    assert problem.remedy == "set the connection's region to the other one"


# --- the database


SQLITE: dict[str, tuple[Break, Status, str, str]] = {
    "missing": (
        lambda world, _: _file(world).unlink(),
        *(WARN, "database.connection", "does not exist yet"),
    ),
    "not a database": (
        lambda world, _: _file(world).write_bytes(b"canary" * 1000),
        *(FAIL, "database.connection", "file is not a database"),
    ),
    "new schema": (
        lambda world, _: world.write(lambda tx: tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")),
        *(FAIL, "database.schema", "9999, but this version of pagerelay knows up to"),
    ),
    "old schema": (
        lambda world, _: world.write(lambda tx: tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")),
        *(WARN, "database.schema", "0001, older than"),
    ),
    "SQLite": (
        lambda _, patch: patch.setattr(sqlite, "SOUND", (99, 0, 0)),
        *(WARN, "database.version", "can lose commits when several connections write"),
    ),
    "low disk": (lambda _, patch: patch.setattr(database, "LOW", 2**80), WARN, "database.disk", "MiB free"),
    "full disk": (lambda _, patch: patch.setattr(database, "TOO_LOW", 2**80), FAIL, "database.disk", "MiB free"),
    "NFS": (
        lambda world, patch: patch.setattr(database, "MOUNTS", _mounts(world)),
        *(FAIL, "database.file_system", "nfs4, on which SQLite's WAL is unsafe"),
    ),
}


def _file(world: World) -> Path:
    return Path(world.url.removeprefix("sqlite:///"))


def _mounts(world: World) -> Path:
    path = world.folder / "mountinfo"
    path.write_text(MOUNTS.format(folder=world.folder))
    return path


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", SQLITE)
async def test_a_broken_database_is_exactly_one_finding(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it, status, check, words = SQLITE[name]
    break_it(world, monkeypatch)
    (problem,) = await world.problems()
    assert (problem.name, problem.status) == (check, status)
    assert words in problem.found
    assert problem.remedy
    assert name != "missing" or not _file(world).exists(), "looking creates nothing"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_read_only_postgresql_is_exactly_one_finding(world: World) -> None:
    url = f"{world.url}{'&' if '?' in world.url else '?'}options=-c%20default_transaction_read_only%3Don"
    world.url = url
    (problem,) = await world.problems()
    assert (problem.name, problem.status) == ("database.writable", FAIL)
    assert "read-only" in problem.found


# --- certificates and proxies


async def problem_of(world: World, authority: Authority, **server: Any) -> tuple[str, Status, str] | None:
    """Serve with another certificate, and return the only problem."""
    names = server.pop("names", ("127.0.0.1",))
    tls = authority.server(world.folder, *names, **server)
    async with Receiver().serving(tls=tls) as url:
        world.change_target(url=SecretStr(url))
        problems = await world.problems()
    assert len(problems) < 2
    return next(((each.name, each.status, each.found) for each in problems), None)


async def test_the_end_of_a_certificate_is_seen_before_it_comes(world: World, authority: Authority) -> None:
    name, status, found = await problem_of(world, authority, days=13) or ("", None, "")
    assert (name, status) == ("target.tls", WARN)
    assert found.endswith("for another 12 d")
    assert await problem_of(world, authority, days=15) is None


async def test_an_expired_certificate_and_one_for_another_name_fail(world: World, authority: Authority) -> None:
    expired = await problem_of(world, authority, days=-1)
    assert expired == ("target.tls", FAIL, "certificate rejected: certificate has expired")
    name, status, found = await problem_of(world, authority, names=("other.example",), days=DAYS) or ("", None, "")
    assert (name, status) == ("target.tls", FAIL)
    assert "IP address mismatch" in found


async def test_a_client_certificate_is_presented_and_its_lack_is_found(
    world: World, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "LISTEN_SECONDS", 10.0)
    refused = await problem_of(world, authority, days=DAYS, clients_of=authority)
    assert refused is not None
    assert refused[:2] == ("target.tls", FAIL)
    assert "certificate required" in refused[2] or "closed the connection right after the handshake" in refused[2]
    monkeypatch.setattr(probe, "LISTEN_SECONDS", 0.1)
    for days, expected in ((DAYS, None), (3, ("target.client_certificate", WARN))):
        pair = authority.issue("pagerelay", client=True, days=days)
        world.change_target(tls=Tls(authority.pem, SecretStr(pair.certificate + pair.key)))
        problem = await problem_of(world, authority, days=DAYS, clients_of=authority)
        assert (problem and problem[:2]) == expected


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(407, "check the user and password in proxy"), (403, "check the proxy's rules for the target")],
)
async def test_a_proxy_that_refuses_the_tunnel_is_found(world: World, status: int, remedy: str) -> None:
    proxy = Receiver(lambda _request: Reply(status))
    async with proxy.serving() as url:
        address = url.removesuffix("/hook").replace("//", "//user:canary-proxy@")
        world.change_target(proxy=SecretStr(address))
        (problem,) = await world.problems()
    assert (problem.name, problem.status, problem.remedy) == ("target.proxy", FAIL, remedy)
    assert "canary" not in f"{problem}"
    assert dataclasses.asdict(problem)["found"].startswith(f"the proxy answered {status}")
    assert "proxy-authorization" in proxy.got[0].headers
    assert KEY not in f"{proxy.got}"


async def test_the_certificate_is_seen_through_a_proxys_tunnel(world: World) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(4096):
            writer.write(part)
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        host, _, port = head.split()[1].partition(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        try:
            await asyncio.gather(copy(reader, back), copy(there, writer))
        finally:
            back.close()

    async with listening(tunnel) as port:
        world.change_target(proxy=SecretStr(f"http://127.0.0.1:{port}"))
        findings = {each.name: each for each in await world.examine()}
    assert {each.status for each in findings.values()} == {Status.OK}
    assert findings["target.proxy"].found == "opens a tunnel to the target"
    assert findings["target.tls"].found.startswith("valid until ")
    assert world.receiver.got == []


def test_the_file_system_is_that_of_the_innermost_mount() -> None:
    mounts = MOUNTS.format(folder="/var/lib/page\\040relay")
    assert database.file_system(Path("/var/lib/page relay/data"), mounts) == "nfs4"
    assert database.file_system(Path("/var/lib"), mounts) == "ext4"
    assert database.file_system(Path("/unrelated"), mounts) == "tmpfs"
