"""The simulated account's app: its token endpoint, scopes and expiry."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from daemon.simulator import oauth_app, routes
from daemon.simulator.http import SimRequest
from tests.harness import recordings
from tests.simulator.library import KEY

if TYPE_CHECKING:
    from tests.conftest import ManualClock

FORM = {
    "grant_type": "client_credentials",
    "client_id": KEY,
    "client_secret": KEY,
    "scope": "as_account-us.acme incidents.read users.read",
}


@pytest.fixture
def http(url: str) -> Any:
    """Yield a client without a key."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def bearer(http: httpx.Client, **form: str) -> dict[str, str]:
    """Return the header with a new token."""
    answer = http.post("/oauth/token", data=FORM | form)
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_token_is_granted_for_a_day_and_works_within_its_scopes(http: httpx.Client, clock: ManualClock) -> None:
    granted = http.post("/oauth/token", data=FORM).json()
    assert (granted["token_type"], granted["expires_in"], granted["scope"]) == ("bearer", 86400, FORM["scope"])
    token = {"authorization": f"Bearer {granted['access_token']}"}
    assert [http.get(path, headers=token).status_code for path in ("/incidents", "/log_entries", "/users")] == [200] * 3
    refused = http.get("/services", headers=token)
    assert (refused.status_code, refused.json()["error"]) == (
        403,
        {"message": "Token missing required scopes", "required_scopes": "services.read"},
    )
    assert http.put("/incidents/P1", headers=token, json={}).json()["error"]["required_scopes"] == "incidents.write"
    clock.advance(86_399)
    assert http.get("/users", headers=token).status_code == 200
    clock.advance(1)
    assert http.get("/users", headers=token).status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong", "client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "incidents.read"}, 400, "invalid_scope"),
        ({"scope": "as_account-us.acme"}, 400, "invalid_scope"),
        ({"scope": "as_account-eu.acme incidents.read"}, 400, "invalid_scope"),
        ({"scope": "as_account-us.other incidents.read"}, 400, "invalid_scope"),
        ({"scope": "as_account-us.acme everything.read"}, 400, "invalid_scope"),
    ],
)
def test_a_token_is_refused_for_a_wrong_client_scope_region_or_subdomain(
    http: httpx.Client, form: dict[str, str], status: int, code: str
) -> None:
    refused = http.post("/oauth/token", data=FORM | form)
    assert (refused.status_code, refused.json()["error"]) == (status, code)


def test_scopes_lifetime_and_region_can_be_changed_and_tokens_revoked(http: httpx.Client, clock: ManualClock) -> None:
    def change(**oauth: Any) -> None:
        assert http.post("/simulator/account", json={"oauth": oauth}).status_code == 200

    token = bearer(http)
    change(scopes=["incidents.read"])
    assert http.get("/users", headers=token).status_code == 403
    change(revoke=True)
    assert http.get("/incidents", headers=token).status_code == 401
    change(lifetime=60, region="eu", subdomain="globex")
    token = bearer(http, scope="as_account-eu.globex incidents.read")
    clock.advance(61)
    assert http.get("/incidents", headers=token).status_code == 401


def test_a_token_is_no_key_and_a_key_is_no_token(http: httpx.Client) -> None:
    token = bearer(http)["authorization"].removeprefix("Bearer ")
    for header in (f"Token token={token}", f"Bearer {KEY}", f"Bearer  {token}"):
        assert http.get("/incidents", headers={"authorization": header}).status_code == 401


@pytest.mark.skipif(not recordings.FOLDER.exists(), reason="PagerDuty's files are not beside the checkout")
def test_each_route_needs_the_scope_that_pagerduty_documents() -> None:
    described = json.loads((recordings.FOLDER / "rest-openapi.json").read_text(encoding="utf-8"))["paths"]
    compared = 0
    for method, pattern, _ in routes.ROUTES:
        path = re.sub(r"\(\?P<id>.*?\)", "{id}", pattern.pattern)
        if path in described:
            documented = described[path][method.lower()].get("x-pd-requires-scope")
            assert oauth_app.scope(SimRequest(method, path)) == documented, path
            compared += 1
    assert compared > 15
