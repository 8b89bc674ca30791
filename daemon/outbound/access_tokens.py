"""Access tokens that are kept until they expire and renewed ahead of time, one request at a time.

For targets and, above this package, for PagerDuty: how a request is sent is the subclass's.
"""

from __future__ import annotations

import abc
import asyncio
from collections import deque
from typing import TYPE_CHECKING

from daemon import errors
from daemon.outbound import token_grant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.settings import OAuth2

EARLY = 30.0  # seconds before expiry at which a token is no longer used, or a fifth of its lifetime if that is less
PAUSE = 1.0  # seconds between two failed token requests


class AccessTokens(abc.ABC):
    """The access tokens of one client: one is cached, and fetched once however many callers wait for it.

    ``ahead`` seconds before it expires (or a fifth of its lifetime, if that is less) a cached token is renewed
    while it is still used.
    """

    def __init__(self, host: str, auth: OAuth2, clock: Callable[[], float], ahead: float = EARLY) -> None:
        self._host = host
        self._headers, self._body = token_grant.request(auth)
        self._clock = clock
        self._ahead = ahead
        self._token = ""
        self._until = self._renew_at = self._requested_at = self._failed_at = float("-inf")
        self._failure = errors.NoAnswer("")
        self._fetching: asyncio.Task[str] | None = None
        self.known: deque[str] = deque(maxlen=3)  # which a response may repeat

    @abc.abstractmethod
    async def _post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Send a token request; return status and body of the response. Raises NoAnswer."""

    @abc.abstractmethod
    async def _disconnect(self) -> None:
        """Close all connections."""

    def cached(self) -> str | None:
        """Return the cached token, if it has not expired. Its renewal begins when it is time."""
        now = self._clock()
        if now >= self._until:
            return None
        if now >= self._renew_at and self._fetching is None and now >= self._failed_at + PAUSE:
            self._begin()
        return self._token

    def age(self) -> float:
        """Return the seconds since the cached token was requested."""
        return self._clock() - self._requested_at

    def drop(self, token: str) -> None:
        """Forget a cached token that was rejected."""
        if token == self._token:
            self._until = float("-inf")

    async def fetch(self, seconds: float) -> str:
        """Return the cached token or a new one. Raises NoToken, also if there is none within ``seconds``.

        Raises OutOfResources if this machine could not make the request.
        """
        cached = self.cached()
        if cached is not None:
            return cached
        if self._fetching is None and self._clock() < self._failed_at + PAUSE:
            raise self._failure
        fetching = self._fetching or self._begin()
        await asyncio.wait((fetching,), timeout=max(seconds, 0.0))  # one caller's time-out must not cancel the others'
        if not fetching.done():
            raise errors.NoToken(self._about("no response in time"))
        return fetching.result()

    async def close(self) -> None:
        """Stop fetching, and close all connections."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))
        await self._disconnect()

    def _begin(self) -> asyncio.Task[str]:
        self._fetching = asyncio.create_task(self._request_token(), name=f"token from {self._host}")
        self._fetching.add_done_callback(self._ended)
        return self._fetching

    def _ended(self, fetching: asyncio.Task[str]) -> None:
        self._fetching = None
        if fetching.cancelled() or (error := fetching.exception()) is None:
            return
        self._failed_at = self._clock()
        self._failure = error if isinstance(error, errors.NoAnswer) else errors.NoToken(str(error))

    async def _request_token(self) -> str:
        requested_at = self._clock()
        try:
            token, seconds = token_grant.read(*await self._post(self._headers, self._body))
        except errors.NoToken as error:
            raise errors.NoToken(self._about(str(error)), status=error.status, code=error.code) from None
        except errors.NoAnswer as error:
            kind = errors.OutOfResources if isinstance(error, errors.OutOfResources) else errors.NoToken
            raise kind(self._about(str(error))) from None
        self.known.append(token)
        self._token, self._requested_at = token, requested_at
        self._until = requested_at + seconds - min(EARLY, seconds / 5)
        self._renew_at = requested_at + seconds - min(self._ahead, seconds / 5)
        return token

    def _about(self, what: str) -> str:
        return f"no token from {self._host}: {what}"
