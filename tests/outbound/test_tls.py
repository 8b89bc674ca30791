"""Targets over TLS: authorities of one's own, names that have to fit, and certificates that targets want to see."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from daemon.model import Content
from daemon.outbound import sender, urls
from daemon.settings import Target, Tls
from tests.harness.certificates import Authority
from tests.harness.listening import listening
from tests.harness.receivers import SECRET, Receiver

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = Content(b"{}", "application/json")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority("Another authority")


async def attempt(url: str, tls: Tls | None, **more: Any) -> sender.SendResult:
    """Make one attempt; every name resolves to loopback."""
    chosen = Target("ops", SecretStr(url), (SecretStr(SECRET),), timeout=timedelta(seconds=15), tls=tls, **more)
    sending = sender.Sender(chosen, lookup=lambda _name, _port: ("127.0.0.1",))
    try:
        return await sending.send("msg_1", CONTENT, 1)
    finally:
        await sending.close()


def named(url: str, host: str) -> str:
    """Return the URL of the same server by a name."""
    return f"https://{host}:{urls.parse(url).port}/hook"


async def test_a_private_certificate_authority_is_trusted_by_address_and_by_name(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    receiver = Receiver()
    async with receiver.serving(tls=authority.server(tmp_path, "127.0.0.1", "hooks.example")) as url:
        for ca in (authority.pem, stranger.pem + authority.pem):
            assert (await attempt(url, Tls(ca))).status == 200
            assert (await attempt(named(url, "hooks.example"), Tls(ca))).status == 200
    assert len(receiver.got) == 4


async def test_a_certificate_from_an_untrusted_authority_is_refused(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    receiver = Receiver()
    async with receiver.serving(tls=authority.server(tmp_path, "127.0.0.1")) as url:
        for tls in (None, Tls(stranger.pem)):
            answer = await attempt(url, tls)
            assert answer.status is None
            assert "an authority that is not trusted (set tls.ca of the target" in str(answer.error)
        assert (await attempt(url, Tls(authority.pem))).status == 200  # the server is done with the others, too
    assert len(receiver.got) == 1


async def test_a_machine_without_certificate_authorities_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    for url in ("https://127.0.0.1:1/in", "https://hooks.example/in"):
        answer = await attempt(url, None)
        assert answer.error == "this machine has no CA certificates (install ca-certificates)"


async def test_a_certificate_for_another_name_is_refused(authority: Authority, tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.serving(tls=authority.server(tmp_path, "hooks.example")) as url:
        for wrong in (url, named(url, "other.example"), named(url, "hooks.example.example")):
            answer = await attempt(wrong, Tls(authority.pem))
            assert str(answer.error).startswith("could not connect: the certificate is for another "), answer.error
        assert (await attempt(named(url, "hooks.example"), Tls(authority.pem))).status == 200
    assert len(receiver.got) == 1


async def test_a_target_that_requires_a_client_certificate_gets_it(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    ours, theirs = (each.issue("pagerelay", client=True) for each in (authority, stranger))
    receiver = Receiver()
    async with receiver.serving(tls=authority.server(tmp_path, "127.0.0.1", clients_of=authority)) as url:
        for wrong in (None, SecretStr(theirs.certificate + theirs.key)):
            answer = await attempt(url, Tls(authority.pem, wrong))
            assert answer.status is None
            assert answer.error is not None
        shown = Tls(authority.pem, SecretStr(ours.certificate + "\n" + ours.key))
        assert (await attempt(url, shown)).status == 200
    assert len(receiver.got) == 1


def pair_of(authority: Authority, tmp_path: Path, *names: str, days: int = 1) -> tuple[str, ssl.SSLContext]:
    """Return a certificate and a server's context with it."""
    pair = authority.issue(*names, days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.written(tmp_path, "own"))
    return pair.certificate, context


async def test_the_certificate_of_a_server_may_be_its_own_authority(authority: Authority, tmp_path: Path) -> None:
    pem, context = pair_of(authority, tmp_path, "127.0.0.1")
    lone, lone_context = self_signed(tmp_path)
    for own, tls in ((pem, context), (lone, lone_context)):
        async with Receiver().serving(tls=tls) as url:
            assert (await attempt(url, Tls(own))).status == 200
            answer = await attempt(url, None)
        assert answer.status is None
    async with Receiver().serving(tls=lone_context) as url:
        answer = await attempt(url, None)
    assert answer.error == "could not connect: the certificate is self-signed (set tls.ca of the target to its file)"


async def test_an_expired_certificate_is_explained(authority: Authority, tmp_path: Path) -> None:
    _pem, context = pair_of(authority, tmp_path, "127.0.0.1", days=-1)
    async with Receiver().serving(tls=context) as url:
        answer = await attempt(url, Tls(authority.pem))
    assert answer.error == "could not connect: the certificate has expired (renew it on the target)"


async def test_tls_1_2_alone_is_enough(authority: Authority, tmp_path: Path) -> None:
    _pem, context = pair_of(authority, tmp_path, "127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    receiver = Receiver()
    async with receiver.serving(tls=context) as url:
        assert (await attempt(url, Tls(authority.pem))).status == 200


async def test_a_missing_or_wrong_client_certificate_is_explained(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    context = authority.server(tmp_path, "127.0.0.1", clients_of=authority)

    def refuse() -> None:
        connection, _address = listener.accept()
        with connection.dup(), contextlib.suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:  # asyncio's own servers send no alert
        refusing = asyncio.create_task(asyncio.to_thread(refuse))
        answer = await attempt(f"https://127.0.0.1:{listener.getsockname()[1]}/", Tls(authority.pem))
        await refusing
    explained = ": the target requires a client certificate (set tls.certificate and tls.key)"
    alert_lost = "Connection reset by peer (os error 104) (the target may require tls.certificate and tls.key)"
    assert str(answer.error).endswith((explained, alert_lost))  # a reset can overtake the alert
    other = stranger.issue("pagerelay", client=True)
    async with Receiver().serving(tls=context) as url:
        answer = await attempt(url, Tls(authority.pem))
        refusal = await attempt(url, Tls(authority.pem, SecretStr(other.certificate + other.key)))
    assert str(answer.error).endswith("(the target may require tls.certificate and tls.key)")
    assert str(refusal.error).endswith("(check whether the target accepts tls.certificate)")


async def test_tls_goes_through_a_proxy_to_the_target_and_the_credentials_do_not(
    authority: Authority, tmp_path: Path
) -> None:
    asked: list[bytes] = []
    receiver = Receiver()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        there, onward = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pump(reader, onward), pump(there, writer))
        finally:
            onward.transport.abort()

    async with receiver.serving(tls=authority.server(tmp_path, "hooks.example")) as url, listening(tunnel) as between:
        port = urls.parse(url).port
        through = SecretStr(f"http://user:pass@127.0.0.1:{between}")
        chosen = named(url, "hooks.example")
        answer = await attempt(chosen, Tls(authority.pem), proxy=through)
    assert (answer.status, answer.error) == (200, None)
    (head,) = asked
    assert head.startswith(f"CONNECT hooks.example:{port} HTTP/1.1\r\n".encode())
    assert b"proxy-authorization: Basic dXNlcjpwYXNz\r\n" in head
    assert "proxy-authorization" not in receiver.got[0].headers


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what arrives."""
    while data := await reader.read(65536):
        writer.write(data)


def self_signed(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    """Return a certificate that openssl req -x509 would create, and a server's context with it."""
    pair = Authority.alone("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.written(tmp_path, "lone"))
    return pair.certificate, context
