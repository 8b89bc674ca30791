"""An app's access tokens: fetched once, renewed ahead of time and after a 401, and explained when there are none."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from daemon import errors
from daemon.model import CallPriority
from daemon.pagerduty import Client
from daemon.settings import Connection, OAuth2
from daemon.simulator import Account, Simulator
from daemon.simulator.http import SimRequest
from tests.harness.eventually import eventually
from tests.pagerduty.scripted_pagerduty import FreePermits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from daemon.storage.database import Database
    from tests.conftest import ManualClock

SECRET = "canary-app-secret"
TOKEN_URL = "https://identity.pagerduty.invalid/oauth/token"
SCOPES = "incidents.read users.read"
INVALID_SCOPE = "answered 400 (invalid_scope) (check oauth.scopes"
INVALID_CLIENT = "answered 401 (invalid_client) (check oauth.client_id and oauth.client_secret"
POLL = CallPriority.POLL
WRITE = {"incident": {"type": "incident_reference", "status": "acknowledged"}}


class App:
    """The simulated account behind a transport, and a client that is an app of it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.account = Account(api_key=SECRET, clock=clock)
        self.simulator = Simulator([self.account])
        self.token_requests: list[httpx.Request] = []
        self.headers: list[str] = []
        self.fail: Callable[[httpx.Request], httpx.Response] | None = None
        self.echo: Callable[[httpx.Request], httpx.Response] | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.client = self.connect()

    def connect(self, scope: str = f"as_account-us.acme {SCOPES}", client_id: str = SECRET) -> Client:
        """Return a client of such an app."""
        auth = OAuth2(SecretStr(TOKEN_URL), client_id, SecretStr(SECRET), scope, in_body=True)
        connection = Connection("acme", None, "https://api.invalid", "https://events.invalid", oauth=auth)
        return Client(
            connection,
            FreePermits(cast("Database", None), "acme", connection.limits, "one"),  # no permit is asked for
            transport=httpx.MockTransport(self._answer),
            sleep=self._pause,
            clock=lambda: self.clock().timestamp(),
        )

    async def _pause(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            self.token_requests.append(request)
            await self.held.wait()
            if self.fail is not None:
                return self.fail(request)
        else:
            self.headers.append(request.headers["authorization"])
            if self.echo is not None:
                return self.echo(request)
        headers = {key.lower(): value for key, value in request.headers.items()}
        query = tuple(request.url.params.multi_items())
        answer = await self.simulator.answer(
            SimRequest(request.method, request.url.path, query, headers, request.content)
        )
        return httpx.Response(answer.status, content=answer.body, headers=answer.headers)


@pytest.fixture
async def app(clock: ManualClock) -> AsyncIterator[App]:
    """Yield an account and a client that is an app of it."""
    running = App(clock)
    yield running
    await running.client.close()


async def failure(app: App, client: Client) -> errors.PagerDutyError:
    """Return why the client cannot list incidents."""
    try:
        with pytest.raises(errors.PagerDutyError) as raised:
            await client.open_incidents(POLL)
    finally:
        await client.close()
    assert SECRET not in str(raised.value)
    return raised.value


async def test_an_app_sends_the_documented_token_request_and_then_its_token(app: App) -> None:
    app.account.trigger("Disk full")
    assert len((await app.client.open_incidents(POLL)).incidents) == 1
    (request,) = app.token_requests
    assert (request.method, str(request.url)) == ("POST", TOKEN_URL)
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": [SECRET],
        "client_secret": [SECRET],
        "scope": ["as_account-us.acme incidents.read users.read"],
    }
    (token,) = app.account.app.tokens
    assert app.headers == [f"Bearer {token}"]


async def test_any_number_of_calls_share_one_token_and_no_token_request_counts_as_a_call(app: App) -> None:
    app.held.clear()
    calls = [asyncio.create_task(app.client.open_incidents(POLL)) for _ in range(5)]
    await eventually(lambda: app.token_requests)
    app.held.set()
    await asyncio.gather(*calls)
    app.clock.advance(3600)
    await app.client.open_incidents(POLL)
    assert (len(app.token_requests), app.client.calls, len(app.headers)) == (1, 6, 6)


async def test_a_token_is_renewed_in_its_last_hour_while_the_old_one_is_used(app: App) -> None:
    await app.client.open_incidents(POLL)
    app.clock.advance(timedelta(hours=23, minutes=1).total_seconds())
    app.held.clear()
    await app.client.open_incidents(POLL)
    await eventually(lambda: len(app.token_requests) == 2)
    await app.client.open_incidents(POLL)
    assert len({*app.headers}) == 1
    app.held.set()
    await eventually(lambda: len(app.account.app.tokens) == 2)
    await eventually(lambda: len([task for task in asyncio.all_tasks() if "token from" in task.get_name()]) == 0)
    await app.client.open_incidents(POLL)
    assert (len({*app.headers}), len(app.token_requests)) == (2, 2)


async def test_a_failed_renewal_changes_nothing_until_the_token_expires(app: App) -> None:
    await app.client.open_incidents(POLL)
    app.fail = lambda _request: httpx.Response(503)
    app.clock.advance(timedelta(hours=23, minutes=30).total_seconds())
    await app.client.open_incidents(POLL)
    await eventually(lambda: len(app.token_requests) == 2)
    await app.client.open_incidents(POLL)
    assert len({*app.headers}) == 1
    app.clock.advance(3600)
    with pytest.raises(errors.Temporary, match=r"no token from identity\.pagerduty\.invalid: answered 503"):
        await app.client.open_incidents(POLL)


async def test_after_a_401_the_call_is_made_once_more_with_a_new_token(app: App) -> None:
    await app.client.open_incidents(POLL)
    app.clock.advance(120)
    app.account.app.change({"revoke": True})
    await app.client.open_incidents(POLL)
    assert (len(app.token_requests), len(app.headers), len({*app.headers})) == (2, 3, 2)


async def test_a_write_after_a_401_takes_effect_once(app: App) -> None:
    client = app.connect("as_account-us.acme incidents.read incidents.write")
    incident = app.account.trigger("Disk full").id
    await client.open_incidents(POLL)
    app.clock.advance(120)
    app.account.app.change({"revoke": True})
    sender = app.account.directory.users[0].email
    await client.call("PUT", f"/incidents/{incident}", CallPriority.ACTION, body=WRITE, sender=sender)
    assert [each.what for each in app.account.effects] == ["acknowledge"]
    await client.close()


async def test_a_new_token_that_is_rejected_is_not_replaced_by_another_one(app: App) -> None:
    app.fail = lambda _request: httpx.Response(200, json={"access_token": "t", "expires_in": 86400})
    client = app.connect()
    error = await failure(app, client)
    assert (error.status, len(app.token_requests), len(app.headers)) == (401, 1, 1)
    assert "check region and oauth.subdomain" in str(error)


@pytest.mark.parametrize(
    ("scope", "client_id", "expected"),
    [
        (
            f"as_account-us.other {SCOPES}",
            SECRET,
            f"{INVALID_SCOPE}, oauth.subdomain and region",
        ),
        (
            f"as_account-eu.acme {SCOPES}",
            SECRET,
            f"{INVALID_SCOPE}, oauth.subdomain and region",
        ),
        ("as_account-us.acme incidents.all", SECRET, INVALID_SCOPE),
        (
            f"as_account-us.acme {SCOPES}",
            "other",
            INVALID_CLIENT,
        ),
    ],
)
async def test_a_rejected_token_request_says_what_to_check(app: App, scope: str, client_id: str, expected: str) -> None:
    error = await failure(app, app.connect(scope, client_id))
    assert f"no token from identity.pagerduty.invalid: {expected}" in str(error)
    assert (type(error), error.status, len(app.token_requests)) == (errors.Permanent, 401, 1)
    assert app.headers == []


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("canary", request=request) from ConnectionRefusedError()


@pytest.mark.parametrize(
    ("fail", "kind", "expected"),
    [
        (unreachable, errors.Unreachable, "identity.pagerduty.invalid refused the connection (check the firewall"),
        (lambda _request: httpx.Response(503), errors.Temporary, "answered 503"),
        (lambda _request: httpx.Response(429), errors.Temporary, "answered 429"),
        (lambda _request: httpx.Response(403), errors.Permanent, "answered 403 (check oauth.client_id"),
        (lambda _request: httpx.Response(400, text="<html>"), errors.Permanent, "answered 400 (check oauth.client_id"),
        (lambda _request: httpx.Response(200, text="<html>"), errors.Temporary, "answered 200 without an access_token"),
    ],
)
async def test_a_failing_token_endpoint_is_explained(
    app: App, fail: Callable[[httpx.Request], httpx.Response], kind: type[Exception], expected: str
) -> None:
    app.fail = fail
    error = await failure(app, app.connect())
    assert expected in str(error)
    assert type(error) is kind


async def test_a_missing_scope_is_named_with_what_to_change(app: App) -> None:
    client = app.connect()
    incident = app.account.trigger("Disk full").id
    with pytest.raises(errors.Permanent) as raised:
        await client.call("PUT", f"/incidents/{incident}", CallPriority.ACTION, body=WRITE, sender="a@example.com")
    await client.close()
    assert raised.value.status == 403
    assert "Token missing required scopes; it needs incidents.write (check oauth.scopes" in str(raised.value)
    assert app.account.effects == []


async def test_no_error_repeats_a_secret_or_a_token(app: App) -> None:
    await app.client.open_incidents(POLL)
    (token,) = app.account.app.tokens

    def echo(request: httpx.Request) -> httpx.Response:
        body = f"{request.headers.get('authorization')} {SECRET}"
        return httpx.Response(403, json={"error": {"message": body}})

    app.echo = echo
    with pytest.raises(errors.Permanent) as raised:
        await app.client.open_incidents(POLL)
    assert "Bearer *** ***" in str(raised.value)
    assert token not in str(raised.value)
    assert SECRET not in repr(app.client.__dict__)
