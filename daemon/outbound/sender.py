"""The only module that talks to targets: one signed POST, bounded in time and in size.

No error and no excerpt of an answer holds a secret of the target.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from daemon import errors
from daemon.outbound import connection, credentials, masking, resolver, signing
from daemon.settings import OAuth2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.model import Content
    from daemon.settings import Target

    Sign = Callable[[bytes, Sequence[str]], Mapping[str, str]]

log = structlog.get_logger()

EXCERPT = 1024
SUCCESS = range(200, 300)
UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt went: the status, or why there is none; ``excerpt`` of the body unless it was a success."""

    status: int | None
    error: str | None
    retry_after: str | None
    excerpt: str | None
    seconds: float


class Sender:
    """Sends to one target, over connections of its own."""

    def __init__(self, target: Target, sign: Sign | None = None, *, lookup: resolver.Lookup = resolver.look_up) -> None:
        self._sign = sign
        self._seconds = target.timeout.total_seconds()
        secrets = [secret.get_secret_value() for secret in target.secrets]
        self._keys = [signing.key(secret) for secret in secrets]
        self._shared = signing.shared(secrets)
        url = target.url.get_secret_value()
        hidden = [*masking.of_url(url), *masking.pieces(url), *masking.of_target(target)]
        self._hidden = masking.longest_first(masking.spelt(hidden))
        headers = {name: value.get_secret_value() for name, value in target.headers}
        self._route = connection.Route(url, target, headers | credentials.header(target.auth), lookup=lookup)
        self._tokens = credentials.Tokens(target, target.auth, lookup) if isinstance(target.auth, OAuth2) else None

    async def close(self) -> None:
        """Close the connections."""
        await self._route.close()
        if self._tokens is not None:
            await self._tokens.close()

    def headers(self, message_id: str, content: Content, timestamp: int) -> dict[str, str]:
        """What an attempt's headers say of the message, and the signatures of it."""
        headers = {
            "content-type": content.content_type,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signing.signature(self._keys, message_id, timestamp, content.body),
        }
        headers.update(content.headers)
        if self._sign is not None:
            headers.update(self._sign(content.body, self._shared))
        return headers

    async def send(self, message_id: str, content: Content, timestamp: int) -> Answer:
        """Make one attempt. Whatever the target does, it ends in time with an Answer."""
        started = time.perf_counter()
        headers = self.headers(message_id, content, timestamp)
        try:
            if self._tokens is None:
                reply = await self._route.post(headers, content.body, self._seconds)
            else:
                reply = await self._post_with_token(self._tokens, headers, content.body, started + self._seconds)
        except errors.NoAnswer as error:
            return Answer(None, self._mask(str(error)), None, None, time.perf_counter() - started)
        except Exception as error:  # or one message that nobody has foreseen would be tried without end
            log.exception("sender.broken", message=message_id)
            why = f"the request failed with {type(error).__name__} (please report it)"
            return Answer(None, why, None, None, time.perf_counter() - started)
        took = time.perf_counter() - started
        if reply.status in SUCCESS:
            return Answer(reply.status, None, None, None, took)
        return Answer(reply.status, f"answered {reply.status}", reply.retry_after, self._excerpt(reply.body), took)

    async def _post_with_token(
        self, tokens: credentials.Tokens, headers: dict[str, str], body: bytes, ends: float
    ) -> connection.Reply:
        """One request with a token, and one more with a new token if the one that was kept is not taken any more."""
        kept = tokens.kept()
        if kept is not None:
            reply = await self._route.post(headers | _bearer(kept), body, ends - time.perf_counter())
            if reply.status != UNAUTHORIZED:
                return reply
            tokens.drop(kept)
        token = await tokens.fetched(ends - time.perf_counter())
        return await self._route.post(headers | _bearer(token), body, ends - time.perf_counter())

    def _excerpt(self, answer: bytes) -> str | None:
        """The beginning of an answer; masked before it is cut, or half a secret could be left."""
        return self._mask(answer.decode("utf-8", "replace").replace("\x00", "\ufffd"))[:EXCERPT] or None

    def _mask(self, text: str) -> str:
        tokens = () if self._tokens is None else self._tokens.known
        return masking.masked(text, [*masking.spelt(tokens), *self._hidden])


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
