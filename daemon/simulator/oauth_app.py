"""An app with Scoped OAuth in an account: its token endpoint, its tokens, and the scopes that requests need."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from daemon.simulator.http import json_answer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from daemon.model import Json
    from daemon.simulator.http import SimRequest, SimResponse

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
RESOURCES = {"log_entries": "incidents"}  # whose scopes have another name than their path
SCOPES = (
    *("incidents.read", "incidents.write", "users.read", "services.read", "escalation_policies.read"),
    *("teams.read", "abilities.read"),
)


@dataclass(frozen=True, slots=True)
class GrantedToken:
    """The scopes of an access token, and until when it is valid."""

    scopes: frozenset[str]
    until: datetime


@dataclass(slots=True)
class OAuthApp:
    """An app with the client id and secret ``secret``. Tokens are valid for ``lifetime``."""

    secret: str
    clock: Callable[[], datetime]
    chance: random.Random
    region: str = "us"
    subdomain: str = "acme"
    scopes: tuple[str, ...] = SCOPES
    lifetime: timedelta = timedelta(hours=24)
    tokens: dict[str, GrantedToken] = field(default_factory=dict)

    def grant(self, request: SimRequest) -> SimResponse:
        """Return the response to a token request of this app's client."""
        form = dict(parse_qsl(request.body.decode()))
        account, *scopes = form.get("scope", "").split() or [""]
        if form.get("grant_type") != "client_credentials":
            return json_answer({"error": "unsupported_grant_type"}, 400)
        if account != f"as_account-{self.region}.{self.subdomain}" or not scopes or set(scopes) - set(self.scopes):
            return json_answer({"error": "invalid_scope", "error_description": "Invalid scope"}, 400)
        token = f"pdus+_{self.chance.getrandbits(160):040x}"
        self.tokens[token] = GrantedToken(frozenset(scopes), self.clock() + self.lifetime)
        seconds = int(self.lifetime.total_seconds())
        granted = {"access_token": token, "token_type": "bearer", "expires_in": seconds, "scope": form["scope"]}
        return json_answer(granted)

    def knows(self, token: str) -> bool:
        """Return whether a token is valid now."""
        return token in self.tokens and self.clock() < self.tokens[token].until

    def refusal(self, token: str, request: SimRequest) -> SimResponse | None:
        """Return the response to a request for which a valid token has no scope."""
        needed = scope(request)
        if needed is None or needed in self.tokens[token].scopes & set(self.scopes):
            return None
        error = {"message": "Token missing required scopes", "required_scopes": needed}
        return json_answer({"error": error}, 403)

    def change(self, options: Json) -> None:
        """Apply ``{"scopes": […], "lifetime": seconds, "region": "eu", "subdomain": …, "revoke": true}``."""
        self.scopes = tuple(options.get("scopes", self.scopes))
        self.lifetime = timedelta(seconds=float(options.get("lifetime", self.lifetime.total_seconds())))
        self.region = str(options.get("region", self.region))
        self.subdomain = str(options.get("subdomain", self.subdomain))
        if options.get("revoke"):
            self.tokens.clear()


def is_grant(request: SimRequest) -> bool:
    """Return whether this is a request for a token."""
    return (request.method, request.path) == ("POST", TOKEN_PATH)


def client(request: SimRequest) -> str | None:
    """Return the client id of a token request, if the secret is the same, as it is for every app here."""
    form = dict(parse_qsl(request.body.decode()))
    return form.get("client_id") if form.get("client_id") == form.get("client_secret") else None


def unknown_client() -> SimResponse:
    """Return the response to a wrong client id or secret."""
    return json_answer({"error": "invalid_client", "error_description": "Client authentication failed"}, 401)


def scope(request: SimRequest) -> str | None:
    """Return the scope that a request to the REST API needs; None for what is the user's own."""
    if request.path == "/users/me":
        return None
    resource = request.path.strip("/").partition("/")[0]
    return f"{RESOURCES.get(resource, resource)}.{'write' if request.is_write else 'read'}"
