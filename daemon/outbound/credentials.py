"""Who pagerelay is to a target: a header that stays the same, or tokens, fetched with client credentials (OAuth 2)."""

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
EARLY = 30.0  # seconds before its end at which a token is no longer used, or a fifth of its life if that is less
UNSAID = 3600.0  # seconds for which a token is used that has no end
PAUSE = 1.0  # seconds between two requests for a token that failed
TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
CODE = re.compile(r"[a-z_]{1,60}")


def header(auth: Basic | Bearer | OAuth2 | None) -> dict[str, str]:
    """The header that is the same in every request, if there is one."""
    match auth:
        case Basic(username, password):
            pair = f"{username}:{password.get_secret_value()}"
            return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        case Bearer(token):
            return {"authorization": f"Bearer {token.get_secret_value()}"}
        case _:
            return {}


class Tokens:
    """A target's access tokens: one is kept while it lasts, and fetched once however many wait for it."""

    def __init__(
        self,
        target: Target,
        auth: OAuth2,
        lookup: resolver.Lookup = resolver.look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        url = auth.token_url.get_secret_value()
        self._host = urlsplit(url).hostname or ""
        self._route = connection.Route(url, target, lookup=lookup)
        self._headers, self._body = _request(auth)
        self._seconds = target.timeout.total_seconds()
        self._clock = clock
        self._token = ""
        self._until = self._failed_at = float("-inf")
        self._failure = ""
        self._fetching: asyncio.Task[str] | None = None
        self.known: deque[str] = deque(maxlen=3)  # those that an answer may repeat

    def kept(self) -> str | None:
        """The token that is at hand."""
        return self._token if self._clock() < self._until else None

    def drop(self, token: str) -> None:
        """A token that is kept was not taken."""
        if token == self._token:
            self._until = float("-inf")

    async def fetched(self, seconds: float) -> str:
        """The token that is at hand, or a new one. Raises NoAnswer, if there is none within ``seconds``, too."""
        kept = self.kept()
        if kept is not None:
            return kept
        if self._fetching is None:
            if self._clock() < self._failed_at + PAUSE:
                raise errors.NoAnswer(self._failure)
            self._fetching = asyncio.create_task(self._fetch(), name=f"token from {self._host}")
            self._fetching.add_done_callback(self._ended)
        fetching = self._fetching
        await asyncio.wait((fetching,), timeout=max(seconds, 0.0))  # the end of an attempt is not the end of the others
        if not fetching.done():
            raise errors.NoAnswer(self._about("no answer in time"))
        return fetching.result()

    async def close(self) -> None:
        """Fetch no more, and close all connections."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))
        await self._route.close()

    def _ended(self, fetching: asyncio.Task[str]) -> None:
        self._fetching = None
        if not fetching.cancelled() and (error := fetching.exception()) is not None:
            self._failure, self._failed_at = str(error), self._clock()

    async def _fetch(self) -> str:
        asked = self._clock()
        try:
            reply = await self._route.post(self._headers, self._body, self._seconds)
        except errors.NoAnswer as error:
            raise errors.NoAnswer(self._about(str(error))) from None
        token, seconds = self._read(reply)
        self.known.append(token)
        self._token, self._until = token, asked + seconds - min(EARLY, seconds / 5)
        return token

    def _read(self, reply: connection.Reply) -> tuple[str, float]:
        """A token and how long it lasts. What else the answer says may be secret and is not told."""
        try:
            said = orjson.loads(reply.body)
        except ValueError:
            said = None
        said = said if isinstance(said, dict) else {}
        if reply.status != OK:
            code = said.get("error")
            reason = f" ({code})" if isinstance(code, str) and CODE.fullmatch(code) else ""
            raise errors.NoAnswer(self._about(f"answered {reply.status}{reason}"))
        token, kind, lasts = said.get("access_token"), said.get("token_type", "bearer"), said.get("expires_in")
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            raise errors.NoAnswer(self._about("answered 200 without an access_token"))
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise errors.NoAnswer(self._about("answered with a token that is no bearer token"))
        return token, _seconds(lasts)

    def _about(self, what: str) -> str:
        return f"no token from {self._host}: {what}"


def _seconds(lasts: object) -> float:
    try:
        return max(float(lasts), 0.0) if isinstance(lasts, int | float | str) else UNSAID
    except ValueError:
        return UNSAID


def _request(auth: OAuth2) -> tuple[dict[str, str], bytes]:
    """The headers and the form of a request for a token."""
    form = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    secret = auth.client_secret.get_secret_value()
    if auth.in_body:
        form |= {"client_id": auth.client_id, "client_secret": secret}
    else:
        pair = f"{quote_plus(auth.client_id)}:{quote_plus(secret)}"
        headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return headers, urlencode({key: value for key, value in form.items() if value is not None}).encode()
