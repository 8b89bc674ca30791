"""Authentication to a target: a fixed header, or access tokens fetched with OAuth 2 client credentials."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daemon.outbound import connection, resolver
from daemon.outbound.access_tokens import AccessTokens
from daemon.settings import Basic, Bearer, OAuth2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.settings import Target


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


class Tokens(AccessTokens):
    """A target's access tokens. Requests for them obey the target's rules for addresses, time and size."""

    def __init__(
        self,
        target: Target,
        auth: OAuth2,
        lookup: resolver.Lookup = resolver.look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        url = auth.token_url.get_secret_value()
        super().__init__(urlsplit(url).hostname or "", auth, clock)
        self._seconds = target.timeout.total_seconds()
        self._client = connection.PinnedClient(url, target, lookup=lookup, moment=self._seconds)

    async def _post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        reply = await self._client.post(dict(headers), body, self._seconds)
        return reply.status, reply.body

    async def _disconnect(self) -> None:
        await self._client.close()
