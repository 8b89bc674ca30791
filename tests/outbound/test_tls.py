"""Targets over TLS: authorities of one's own, names that have to fit, and certificates that targets want to see."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from daemon.model import Content
from daemon.outbound import sender, urls
from daemon.settings import Target, Tls
from tests.harness.certificates import Authority
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
        assert str(answer.error).startswith("cannot create an HTTP client: ")
        assert "No CA certificates" in str(answer.error)


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
