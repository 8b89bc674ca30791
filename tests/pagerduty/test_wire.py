"""The client over real connections: time, size, redirects, proxies, and secrecy of the key."""

from __future__ import annotations

import asyncio
import gzip
import logging
import ssl
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from daemon import errors
from daemon.model import CallPriority
from daemon.pagerduty import client as pagerduty_client
from daemon.pagerduty import exchange
from daemon.pagerduty.unreachable import CHECK_ROUTE
from daemon.simulator import Account, Simulator
from daemon.simulator.http import SimRequest, SimResponse, listening
from tests.conftest import START
from tests.harness.certificates import Authority
from tests.harness.receivers import Receiver, Reply
from tests.pagerduty.scripted_pagerduty import KEY, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.pagerduty import Client
    from tests.pagerduty.scripted_pagerduty import ScriptedPagerDuty

POLL = CallPriority.POLL


@dataclass
class Server:
    """Sends the same response to every request; records requests."""

    given: SimResponse
    requests: list[SimRequest] = field(default_factory=list)

    async def answer(self, request: SimRequest) -> SimResponse:
        """Return the response to one request."""
        self.requests.append(request)
        return self.given


def client_of(fake: ScriptedPagerDuty, url: str, **more: float) -> Client:
    """Return a client of a real server."""
    return fake.client(url=url, transport=None, **more)


@pytest.mark.parametrize("how", ["drip", "hang"])
async def test_a_call_times_out_as_a_whole_whatever_the_server_does(fake: ScriptedPagerDuty, how: str) -> None:
    server = Receiver(lambda _request: Reply(how=how))
    async with server.serving() as url, asyncio.timeout(20):
        client = client_of(fake, url, call_seconds=0.3)
        with pytest.raises(errors.Temporary, match=r"did not respond within 0\.3 s"):
            await client.open_incidents(POLL)
        await client.close()
    assert client.calls == pagerduty_client.ATTEMPTS


def test_a_call_times_out_before_its_permit_expires() -> None:
    assert pagerduty_client.CALL_SECONDS < 30
    assert exchange.CONNECT_SECONDS < pagerduty_client.CALL_SECONDS
    assert exchange.READ_SECONDS < pagerduty_client.CALL_SECONDS


async def test_an_endless_body_is_abandoned(fake: ScriptedPagerDuty) -> None:
    server = Receiver(lambda _request: Reply(how="endless"))
    async with server.serving() as url, asyncio.timeout(60):
        client = client_of(fake, url)
        with pytest.raises(errors.Temporary, match="answered /hook/incidents with more than 33554432 bytes"):
            await client.open_incidents(POLL)
        await client.close()


async def test_a_small_body_that_decompresses_to_a_huge_one_is_abandoned(fake: ScriptedPagerDuty) -> None:
    bomb = gzip.compress(bytes(exchange.LARGEST_BODY + 1))
    assert len(bomb) < 100_000
    server = Server(SimResponse(200, bomb, {"content-encoding": "gzip"}))
    async with listening(server.answer, 0) as url:
        client = client_of(fake, url)
        with pytest.raises(errors.Temporary, match="with more than 33554432 bytes"):
            await client.open_incidents(POLL)
        await client.close()


async def test_the_configured_proxy_is_used_and_its_credentials_appear_nowhere(
    fake: ScriptedPagerDuty, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    proxy = Receiver(lambda _request: Reply(200, {}, b'{"incidents": []}'))
    async with proxy.serving() as url:
        through = SecretStr(url.replace("http://", "http://canary-user:canary%2Fword@").removesuffix("/hook"))
        client = fake.client(url="http://127.0.0.1:9", transport=None, proxy=through)
        await client.open_incidents(POLL)
        texts = repr(client) + repr(vars(client)) + "".join(each.getMessage() for each in caplog.records)
        await client.close()
    (request,) = proxy.got
    assert request.path.startswith("http://127.0.0.1:9/incidents?")
    assert request.headers["proxy-authorization"] == "Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5L3dvcmQ="
    assert "send_request_headers" in texts
    for secret in ("canary%2Fword", "canary/word", "Y2FuYXJ5LXVzZXI6Y2FuYXJ5L3dvcmQ="):
        assert secret not in texts


async def test_a_compressed_response_is_read(fake: ScriptedPagerDuty) -> None:
    packed = gzip.compress(b'{"incidents": [{"id": "P1"}]}')
    async with listening(Server(SimResponse(200, packed, {"content-encoding": "gzip"})).answer, 0) as url:
        client = client_of(fake, url)
        assert list((await client.open_incidents(POLL)).incidents) == ["P1"]
        await client.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(fake: ScriptedPagerDuty, status: int) -> None:
    elsewhere = Server(SimResponse(200, b'{"incidents": []}'))
    async with listening(elsewhere.answer, 0) as other:
        server = Server(SimResponse(status, b"", {"location": f"{other}/incidents"}))
        async with listening(server.answer, 0) as url:
            client = client_of(fake, url)
            with pytest.raises(errors.Permanent, match=f"answered /incidents with {status}"):
                await client.open_incidents(POLL)
            await client.close()
    assert (len(server.requests), elsewhere.requests) == (1, [])


@pytest.mark.parametrize("location", [b"http://[", b"\xff\xfe", b"//", b"ftp:", b"http://" + b"a" * 70_000])
async def test_a_redirect_without_a_location_is_an_ordinary_error(fake: ScriptedPagerDuty, location: bytes) -> None:
    with pytest.raises(errors.PagerDutyError):
        await fake.client(httpx.Response(302, headers={b"location": location})).open_incidents(POLL)


async def test_proxies_from_the_environment_are_not_used(
    fake: ScriptedPagerDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = Server(SimResponse(502)), Server(SimResponse(200, b'{"incidents": []}'))
    async with listening(proxy.answer, 0) as between, listening(server.answer, 0) as url:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, between)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        client = client_of(fake, url)
        await client.open_incidents(POLL)
        await client.close()
    assert (len(server.requests), proxy.requests) == (1, [])


async def test_an_unreachable_server_is_a_readable_error(fake: ScriptedPagerDuty) -> None:
    async with listening(Server(SimResponse(200)).answer, 0) as url:
        pass
    client = client_of(fake, url)
    host = url.removeprefix("http://")
    with pytest.raises(errors.Temporary) as raised:
        await client.open_incidents(POLL)
    assert str(raised.value) == f"{host} refused the connection ({CHECK_ROUTE})"
    await client.close()


async def failure_of(fake: ScriptedPagerDuty, url: str, **more: Any) -> str:
    client = fake.client(url=url, transport=None, **more)
    with pytest.raises(errors.Unreachable) as raised:
        await client.open_incidents(POLL)
    await client.close()
    return str(raised.value)


async def test_a_certificate_that_is_not_trusted_is_named_with_the_remedy(
    fake: ScriptedPagerDuty, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority().issue("127.0.0.1").written(tmp_path, "server"))
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    assert await failure_of(fake, f"https://127.0.0.1:{port}") == (
        f"the certificate of 127.0.0.1:{port} is not trusted: unable to get local issuer certificate "
        "(does a proxy inspect TLS? then add its CA to the system's: update-ca-certificates)"
    )
    server.close()


async def test_a_server_without_tls_a_name_that_nobody_knows_and_a_proxy_that_refuses_are_each_explained(
    fake: ScriptedPagerDuty,
) -> None:
    async with listening(Server(SimResponse(407)).answer, 0) as url:
        host = url.removeprefix("http://")
        assert (await failure_of(fake, f"https://{host}")).startswith(f"TLS with {host} failed: ")
        refused = await failure_of(fake, "https://api.pagerduty.invalid", proxy=SecretStr(url))
    assert refused.startswith("the proxy refused the call to api.pagerduty.invalid with 407 (")
    unknown = await failure_of(fake, "http://api.pagerduty.invalid")
    assert unknown == (
        "the name api.pagerduty.invalid cannot be resolved (check DNS, and proxy if names are resolved there)"
    )


async def test_passwords_in_netrc_are_not_used(
    fake: ScriptedPagerDuty, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / ".netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = Server(SimResponse(200, b'{"incidents": []}'))
    async with listening(server.answer, 0) as url:
        client = client_of(fake, url)
        await client.open_incidents(POLL)
        await client.close()
    assert server.requests[0].headers["authorization"] == f"Token token={KEY}"


# --- the key


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, 2006),
        httpx.Response(403, json={"error": {"message": f"Authorization: Token token={KEY}", "errors": [KEY]}}),
        httpx.Response(500, json={"error": {"message": "x" * 490 + KEY}}),
        httpx.Response(400, json={"error": f"bad key {KEY}"}),
        httpx.Response(400, json={"message": f"bad key {KEY}"}),
        httpx.LocalProtocolError(f"Illegal header value b'Token token={KEY}'"),
        httpx.ConnectError(f"no way with {KEY}"),
    ],
    ids=str,
)
async def test_no_error_contains_the_key(fake: ScriptedPagerDuty, answer: httpx.Response | Exception) -> None:
    with pytest.raises(errors.PagerDutyError) as raised:
        await fake.client(answer).open_incidents(POLL)
    texts = [str(raised.value), repr(raised.value), *traceback.format_exception(raised.value)]
    for text in texts:
        for part in (KEY, KEY[:10]):
            assert part not in text


async def test_no_repr_and_no_log_line_contains_the_key(
    fake: ScriptedPagerDuty, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    account = Account(api_key=KEY, clock=fake.clock)
    account.trigger("Disk full")
    async with Simulator([account]).serving() as url:
        client = client_of(fake, url)
        await client.log_entries(START, START.replace(minute=1), POLL)
        await client.open_incidents(POLL)
        with pytest.raises(errors.PagerDutyError):
            await client_of(fake, "http://127.0.0.1:1").open_incidents(POLL)
        await client.close()
    lines = [record.getMessage() for record in caplog.records]
    assert any("HTTP Request: GET" in line for line in lines)
    assert any("send_request_headers" in line for line in lines)
    assert [line for line in lines if KEY in line] == []
    assert KEY not in repr(client) + repr(vars(client))


async def test_the_request_id_of_a_response_is_logged(fake: ScriptedPagerDuty) -> None:
    answer = httpx.Response(200, json={"incidents": []}, headers={"x-request-id": "abc"})
    with capture_logs() as lines:
        await fake.client(answer).open_incidents(POLL)
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("pagerduty.called", "debug")
    assert (line["method"], line["path"], line["status"], line["request_id"]) == ("GET", "/incidents", 200, "abc")
