"""Authentication to PagerDuty: an API key, or an app's access tokens (Scoped OAuth)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daemon import errors
from daemon.outbound.access_tokens import AccessTokens
from daemon.pagerduty import exchange, failures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import httpx

    from daemon.settings import Connection, OAuth2

TOKEN_SECONDS = 20.0
AHEAD = 3600.0  # seconds before its expiry that a token is renewed; PagerDuty's live 24 hours
FRESH = 60.0  # seconds for which a rejected token is not replaced: another one would be rejected as well
KEY_REMEDIES = {
    401: (
        "check api_key and region: it must be a REST API key, not an integration key or an OAuth token (for an app, "
        "set oauth instead), and a key of the other region is rejected in the same way"
    ),
    403: "the key is not allowed to do this: check its permissions",
}
APP_REMEDIES = {
    401: (
        "PagerDuty issued the token, but does not accept it here: check region and oauth.subdomain, and that the app "
        "is still installed in this account"
    ),
    403: "check oauth.scopes, and the scopes that the app has in PagerDuty; actions need incidents.write as well",
}
REJECTED_REMEDIES = {
    "invalid_client": "check oauth.client_id and oauth.client_secret: both are shown when an app gets Scoped OAuth",
    "invalid_scope": "check oauth.scopes, oauth.subdomain and region: the app must have each of these scopes",
}
OTHER_REMEDY = (
    "check oauth.client_id, oauth.client_secret, oauth.subdomain, oauth.scopes and region, and that the app has "
    "Scoped OAuth"
)
CLIENT_REJECTED = 401
CLIENT_ERRORS = range(400, 500)


class Credentials:
    """A connection's way to authenticate, and what to check when PagerDuty rejects it."""

    def __init__(
        self,
        connection: Connection,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = connection.api_key
        self._oauth = connection.oauth
        self._tokens = None if self._oauth is None else AppTokens(connection, self._oauth, transport, clock)
        self.remedies: Mapping[int, str] = KEY_REMEDIES if self._tokens is None else APP_REMEDIES

    async def header(self) -> str:
        """Return the authorization header. Raises Temporary or Permanent if there is no access token."""
        if self._tokens is None:
            return f"Token token={self._key.get_secret_value()}" if self._key is not None else ""
        try:
            return f"Bearer {await self._tokens.fetch(TOKEN_SECONDS)}"
        except errors.NoToken as error:
            raise _explained(error) from None

    def replace(self, header: str) -> bool:
        """Forget the access token of a rejected header; return whether a new one may be accepted."""
        if self._tokens is None or self._tokens.age() < FRESH:
            return False
        self._tokens.drop(header.removeprefix("Bearer "))
        return True

    def secrets(self) -> Sequence[str]:
        """Return what a response may repeat and nobody may read."""
        if self._tokens is None or self._oauth is None:
            return () if self._key is None else (self._key.get_secret_value(),)
        return (self._oauth.client_secret.get_secret_value(), *self._tokens.known)

    async def close(self) -> None:
        """Stop fetching tokens, and close all connections."""
        if self._tokens is not None:
            await self._tokens.close()


class AppTokens(AccessTokens):
    """The access tokens of a PagerDuty app. Getting one is no call to the REST API, and needs no permit."""

    def __init__(
        self,
        connection: Connection,
        auth: OAuth2,
        transport: httpx.AsyncBaseTransport | None,
        clock: Callable[[], float],
    ) -> None:
        self._url = auth.token_url.get_secret_value()
        super().__init__(urlsplit(self._url).netloc, auth, clock, AHEAD)
        self._http = exchange.client(self._url, connection.proxy, transport, {})

    async def _post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        request = self._http.build_request("POST", self._url, content=body, headers=dict(headers))
        try:
            status, _, answer = await exchange.send(self._http, request, TOKEN_SECONDS)
        except errors.Temporary as error:
            raise errors.NoAnswer(str(error)) from None
        return status, answer

    async def _disconnect(self) -> None:
        await self._http.aclose()


def _explained(error: errors.NoToken) -> errors.PagerDutyError:
    """Return why there is no token, with what to check. A rejected client is as permanent a failure as a wrong key."""
    if error.status is None:
        return errors.Unreachable(str(error))
    if error.status not in CLIENT_ERRORS or error.status in failures.TEMPORARY:
        return errors.Temporary(str(error), status=error.status)
    if error.status == CLIENT_REJECTED and error.code is None:
        remedy = REJECTED_REMEDIES["invalid_client"]
    else:
        remedy = REJECTED_REMEDIES.get(error.code or "", OTHER_REMEDY)
    return errors.Permanent(f"{error} ({remedy})", status=CLIENT_REJECTED)
