"""Who pagerelay is to a target: headers that stay the same, and tokens that are fetched, kept and replaced."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from daemon import errors
from daemon.model import Content
from daemon.outbound import credentials, sender
from daemon.settings import Basic, Bearer, Egress, OAuth2, Target
from tests.harness.eventually import eventually
from tests.harness.receivers import SECRET, Receiver, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = Content(b"{}", "application/json")
CANARY = "canary-client-secret/+"


def token_response(token: str, **more: Any) -> Reply:
    """Return a response with a token."""
    body = {"access_token": token, "token_type": "Bearer", "expires_in": 3600} | more
    return Reply(200, {}, json.dumps({key: value for key, value in body.items() if value is not None}).encode())


def numbered() -> Callable[[Request], Reply]:
    """Return tokens canary-token-1, canary-token-2 and so on."""
    count = 0

    def answer(_request: Request) -> Reply:
        nonlocal count
        count += 1
        return token_response(f"canary-token-{count}")

    return answer


def oauth2(url: str, **more: Any) -> OAuth2:
    return OAuth2(SecretStr(url), "pager relay", SecretStr(CANARY), **more)


def target(url: str, auth: Basic | Bearer | OAuth2 | None, **more: Any) -> Target:
    more.setdefault("timeout", timedelta(seconds=15))
    return Target("ops", SecretStr(url), (SecretStr(SECRET),), auth=auth, **more)


async def attempt(chosen: Target) -> sender.SendResult:
    sending = sender.Sender(chosen)
    try:
        return await sending.send("msg_1", CONTENT, 1)
    finally:
        await sending.close()


async def error_of(reply: Reply) -> str:
    """Return the error of an attempt whose token URL responds like this."""
    receiver = Receiver()
    async with Receiver(lambda _request: reply).serving() as tokens, receiver.serving() as url:
        answer = await attempt(target(url, oauth2(tokens)))
    assert (answer.status, receiver.got) == (None, [])
    return answer.error or ""


class Time:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (Basic("pagerelay", SecretStr("pässword:x")), "Basic cGFnZXJlbGF5OnDDpHNzd29yZDp4"),
        (Bearer(SecretStr("a.b-c")), "Bearer a.b-c"),
        (None, None),
    ],
)
async def test_basic_credentials_or_a_token_are_sent_with_every_request(
    auth: Basic | Bearer | None, header: str | None
) -> None:
    receiver = Receiver()
    async with receiver.serving() as url:
        assert (await attempt(target(url, auth, headers=(("X-Team", SecretStr("ops")),)))).status == 200
    (request,) = receiver.got
    assert (request.headers.get("authorization"), request.headers["x-team"]) == (header, "ops")


async def test_a_token_is_fetched_once_for_any_number_of_attempts() -> None:
    receiver, tokens = Receiver(), Receiver(numbered())
    async with tokens.serving() as token_url, receiver.serving() as url:
        sending = sender.Sender(target(url, oauth2(token_url, scope="hooks read", audience="https://ops.example")))
        answers = await asyncio.gather(*(sending.send(f"msg_{number}", CONTENT, 1) for number in range(20)))
        await sending.close()
    assert {answer.status for answer in answers} == {200}
    assert {request.headers["authorization"] for request in receiver.got} == {"Bearer canary-token-1"}
    (request,) = tokens.got
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["authorization"] == "Basic cGFnZXIrcmVsYXk6Y2FuYXJ5LWNsaWVudC1zZWNyZXQlMkYlMkI="
    form = {"grant_type": ["client_credentials"], "scope": ["hooks read"], "audience": ["https://ops.example"]}
    assert parse_qs(request.body.decode()) == form


async def test_client_credentials_may_be_sent_in_the_body() -> None:
    receiver, tokens = Receiver(), Receiver(numbered())
    async with tokens.serving() as token_url, receiver.serving() as url:
        assert (await attempt(target(url, oauth2(token_url, in_body=True)))).status == 200
    (request,) = tokens.got
    assert "authorization" not in request.headers
    form = {"grant_type": ["client_credentials"], "client_id": ["pager relay"], "client_secret": [CANARY]}
    assert parse_qs(request.body.decode()) == form


async def test_a_rejected_token_is_replaced_in_the_same_attempt() -> None:
    def taken(request: Request) -> Reply:
        return Reply(200 if request.headers["authorization"].endswith(good) else 401)

    receiver, tokens = Receiver(taken), Receiver(numbered())
    async with tokens.serving() as token_url, receiver.serving() as url:
        sending = sender.Sender(target(url, oauth2(token_url)))
        good = "-1"
        assert (await sending.send("msg_1", CONTENT, 1)).status == 200
        good = "-2"
        answers = await asyncio.gather(*(sending.send("msg_2", CONTENT, 1) for _ in range(5)))
        assert ({answer.status for answer in answers}, len(tokens.got)) == ({200}, 2)
        good = "never"
        assert (await sending.send("msg_3", CONTENT, 1)).error == "answered 401"
        assert len(tokens.got) == 3  # once more, and no more often
        await sending.close()


async def test_a_rejected_new_token_is_not_replaced_at_once() -> None:
    receiver, tokens = Receiver(lambda _request: Reply(401)), Receiver(numbered())
    async with tokens.serving() as token_url, receiver.serving() as url:
        assert (await attempt(target(url, oauth2(token_url)))).status == 401
    assert (len(receiver.got), len(tokens.got)) == (1, 1)


@pytest.mark.parametrize(
    ("lasts", "seconds"), [(3600, 3570), ("600", 570), (60, 48), (None, 3570), ("soon", 3570), (0, 0), (-5, 0)]
)
async def test_a_token_is_replaced_before_it_expires(lasts: object, seconds: float) -> None:
    replies = numbered()
    server = Receiver(
        lambda request: token_response(json.loads(replies(request).body)["access_token"], expires_in=lasts)
    )
    clock = Time()
    async with server.serving() as url:
        auth = oauth2(url)
        tokens = credentials.Tokens(target(url, auth), auth, clock=clock)
        assert await tokens.fetch(5) == "canary-token-1"
        clock.now += max(seconds - 0.5, 0)
        assert tokens.cached() == ("canary-token-1" if seconds else None)
        clock.now += 1
        assert tokens.cached() is None
        assert await tokens.fetch(5) == "canary-token-2"
        await tokens.close()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(401, {}, b'{"error":"invalid_client","error_description":"canary"}'), "answered 401 (invalid_client)"),
        (Reply(400, {}, b'{"error":"canary-1"}'), "answered 400"),
        (Reply(500, {}, b"canary"), "answered 500"),
        (Reply(302, {"location": "http://127.0.0.1:1/"}), "answered 302"),
        (Reply(200, {}, b"canary"), "answered 200 without an access_token"),
        (Reply(200, {}, b'["canary"]'), "answered 200 without an access_token"),
        (token_response("canary token\n"), "answered 200 without an access_token"),
        (token_response("canary", token_type="mac"), "answered with a token that is not a bearer token"),
        (Reply(200, how="reset"), "the connection broke: connection closed before message completed"),
    ],
)
async def test_without_a_token_the_attempt_fails_with_the_reason(reply: Reply, error: str) -> None:
    assert await error_of(reply) == f"no token from 127.0.0.1: {error}"


async def test_a_token_without_type_and_expiry_is_accepted() -> None:
    receiver, tokens = Receiver(), Receiver(lambda _request: token_response("t", token_type=None, expires_in=None))
    async with tokens.serving() as token_url, receiver.serving() as url:
        assert (await attempt(target(url, oauth2(token_url)))).status == 200


@pytest.mark.parametrize("how", ["hang", "drip", "endless"])
async def test_a_token_request_has_the_same_time_and_size_limits_as_an_attempt(how: str) -> None:
    receiver, tokens = Receiver(), Receiver(lambda _request: Reply(how=how))
    async with tokens.serving() as token_url, receiver.serving() as url:
        answer = await attempt(target(url, oauth2(token_url), timeout=timedelta(milliseconds=300)))
    assert (answer.status, receiver.got) == (None, [])
    assert str(answer.error).startswith("no token from 127.0.0.1: ")
    assert answer.seconds < 10


async def test_a_failed_token_request_is_not_repeated_by_every_attempt() -> None:
    server = Receiver(lambda _request: Reply(500))
    clock = Time()
    async with server.serving() as url:
        auth = oauth2(url)
        tokens = credentials.Tokens(target(url, auth), auth, clock=clock)
        for pause in (0.0, 0.5, 0.6):
            clock.now += pause
            with pytest.raises(errors.NoAnswer, match="answered 500"):
                await tokens.fetch(5)
        await tokens.close()
    assert len(server.got) == 2


async def test_the_end_of_an_attempt_does_not_cancel_the_token_request() -> None:
    gate = asyncio.Event()
    server = Receiver(lambda _request: Reply(200, {}, token_response("t").body, held=gate.wait))
    async with server.serving() as url:
        auth = oauth2(url)
        tokens = credentials.Tokens(target(url, auth, timeout=timedelta(minutes=1)), auth)
        with pytest.raises(errors.NoAnswer, match="no response in time"):
            await tokens.fetch(0)
        one, other = (asyncio.create_task(tokens.fetch(60)) for _ in range(2))
        await eventually(lambda: server.got)
        one.cancel()
        await asyncio.wait([one])
        gate.set()
        assert (await other, len(server.got)) == ("t", 1)
        await tokens.close()


async def test_a_token_url_obeys_the_same_address_rules_as_a_target() -> None:
    tokens = Receiver(numbered())
    async with tokens.serving() as token_url:
        chosen = target("http://192.88.1.1/in", oauth2(token_url), egress=Egress(private=False))
        answer = await attempt(chosen)
    assert str(answer.error).startswith("no token from 127.0.0.1: refused: the host is 127.0.0.1, a loopback address")
    assert tokens.connections == 0


async def test_tokens_are_fetched_through_the_proxy_of_the_target() -> None:
    proxy = Receiver(
        lambda request: token_response("t") if request.path.startswith("http://login.invalid/") else Reply(204)
    )
    async with proxy.serving() as url:
        through = SecretStr(url.removesuffix("/hook"))
        chosen = target("http://192.88.1.1/in", oauth2("http://login.invalid/token"), proxy=through)
        assert (await attempt(chosen)).status == 204
    assert [request.path for request in proxy.got] == ["http://login.invalid/token", "http://192.88.1.1/in"]


async def test_no_output_contains_a_credential_that_a_target_echoes() -> None:
    receiver = Receiver(lambda request: Reply(500, {}, f"{request.headers['authorization']} {CANARY}".encode()))
    tokens = Receiver(numbered())
    async with tokens.serving() as token_url, receiver.serving() as url:
        for auth, excerpt in (
            (Basic("canary-user", SecretStr("canary-password")), f"Basic *** {CANARY}"),
            (Bearer(SecretStr("canary-bearer")), f"Bearer *** {CANARY}"),
            (oauth2(f"{token_url}?key=canary-query"), "Bearer *** ***"),
        ):
            chosen = target(url, auth)
            sending = sender.Sender(chosen)
            answer = await sending.send("msg_1", CONTENT, 1)
            assert answer.excerpt == excerpt
            for secret in ("canary-password", "canary-bearer", "canary-token", "canary-query", "canary-client"):
                assert secret not in repr(sending) + repr(chosen)
            await sending.close()
