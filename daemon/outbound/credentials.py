"""Authentication to a target: a fixed header, or access tokens fetched with OAuth 2 client credentials."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode, urlsplit

import orjson

from daemon import errors
from daemon.outbound import connection, resolver
from daemon.settings import Basic, Bearer, OAuth2

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.settings import Target

OK = 200
EARLY = 30.0  # seconds before expiry at which a token is no longer used, or a fifth of its lifetime if that is less
DEFAULT_LIFETIME = 3600.0  # seconds, for a token without ``expires_in``
PAUSE = 1.0  # seconds between two failed token requests
TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
CODE = re.compile(r"[a-z_]{1,60}")


def header(auth: Basic | Bearer | OAuth2 | None) -> dict[str, str]:
    """Return the fixed authorization header, if there is one."""
    match auth:
        case Basic(username, password):
            pair = f"{username}:{password.get_secret_value()}"
            return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        case Bearer(token):
            return {"authorization": f"Bearer {token.get_secret_value()}"}
        case _:
            return {}


class Tokens:
    """A target's access tokens: one is cached until it expires, and fetched once however many attempts wait for it."""

    def __init__(
        self,
        target: Target,
        auth: OAuth2,
        lookup: resolver.Lookup = resolver.look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        url = auth.token_url.get_secret_value()
        self._host = urlsplit(url).hostname or ""
        self._client = connection.PinnedClient(url, target, lookup=lookup)
        self._headers, self._body = _request(auth)
        self._seconds = target.timeout.total_seconds()
        self._clock = clock
        self._token = ""
        self._until = self._failed_at = float("-inf")
        self._failure = ""
        self._fetching: asyncio.Task[str] | None = None
        self.known: deque[str] = deque(maxlen=3)  # which a response may repeat

    def cached(self) -> str | None:
        """Return the cached token, if it has not expired."""
        return self._token if self._clock() < self._until else None

    def drop(self, token: str) -> None:
        """Forget a cached token that was rejected."""
        if token == self._token:
            self._until = float("-inf")

    async def fetch(self, seconds: float) -> str:
        """Return the cached token or a new one. Raises NoAnswer, also if there is none within ``seconds``."""
        cached = self.cached()
        if cached is not None:
            return cached
        if self._fetching is None:
            if self._clock() < self._failed_at + PAUSE:
                raise errors.NoAnswer(self._failure)
            self._fetching = asyncio.create_task(self._request_token(), name=f"token from {self._host}")
            self._fetching.add_done_callback(self._ended)
        fetching = self._fetching
        await asyncio.wait((fetching,), timeout=max(seconds, 0.0))  # one attempt's time-out must not cancel the others'
        if not fetching.done():
            raise errors.NoAnswer(self._about("no answer in time"))
        return fetching.result()

    async def close(self) -> None:
        """Stop fetching, and close all connections."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))
        await self._client.close()

    def _ended(self, fetching: asyncio.Task[str]) -> None:
        self._fetching = None
        if not fetching.cancelled() and (error := fetching.exception()) is not None:
            self._failure, self._failed_at = str(error), self._clock()

    async def _request_token(self) -> str:
        requested_at = self._clock()
        try:
            reply = await self._client.post(self._headers, self._body, self._seconds)
        except errors.NoAnswer as error:
            raise errors.NoAnswer(self._about(str(error))) from None
        token, seconds = self._read(reply)
        self.known.append(token)
        self._token, self._until = token, requested_at + seconds - min(EARLY, seconds / 5)
        return token

    def _read(self, reply: connection.Response) -> tuple[str, float]:
        """Return a token and its lifetime in seconds; report nothing else of the response, which may be secret."""
        try:
            document = orjson.loads(reply.body)
        except ValueError:
            document = None
        document = document if isinstance(document, dict) else {}
        if reply.status != OK:
            code = document.get("error")
            reason = f" ({code})" if isinstance(code, str) and CODE.fullmatch(code) else ""
            raise errors.NoAnswer(self._about(f"answered {reply.status}{reason}"))
        token, kind = document.get("access_token"), document.get("token_type", "bearer")
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            raise errors.NoAnswer(self._about("answered 200 without an access_token"))
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise errors.NoAnswer(self._about("answered with a token that is not a bearer token"))
        return token, _lifetime(document.get("expires_in"))

    def _about(self, what: str) -> str:
        return f"no token from {self._host}: {what}"


def _lifetime(expires_in: object) -> float:
    try:
        return max(float(expires_in), 0.0) if isinstance(expires_in, int | float | str) else DEFAULT_LIFETIME
    except ValueError:
        return DEFAULT_LIFETIME


def _request(auth: OAuth2) -> tuple[dict[str, str], bytes]:
    """Return the headers and the form of a token request."""
    form = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    secret = auth.client_secret.get_secret_value()
    if auth.in_body:
        form |= {"client_id": auth.client_id, "client_secret": secret}
    else:
        pair = f"{quote_plus(auth.client_id)}:{quote_plus(secret)}"
        headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return headers, urlencode({key: value for key, value in form.items() if value is not None}).encode()
