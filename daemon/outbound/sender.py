"""Sending one signed POST to a target, bounded in time and size.

Neither errors nor response excerpts contain a secret of the target.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

import structlog

from daemon import errors
from daemon.model import SUCCESS
from daemon.outbound import connection, credentials, masking, resolver, signing
from daemon.settings import OAuth2
from daemon.text import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.model import Content
    from daemon.settings import Target

    Sign = Callable[[bytes, Sequence[str]], Mapping[str, str]]
    Rejects = Callable[[int, bytes], str | None]
    """Returns why a 2xx answer with this status and body is no success, or None if it is one."""

log = structlog.get_logger()

EXCERPT = 1024
UNAUTHORIZED = 401
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PLAIN = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


class SendResult(NamedTuple):
    """The result of an attempt, which succeeded if there is no ``error``, and the beginning of the body.

    ``seconds`` is the duration; ``retry_after`` is the raw header. ``is_ours``: this machine could not make the
    request, so that it says nothing about the target.
    """

    status: int | None
    error: str | None
    retry_after: str | None
    excerpt: str | None
    seconds: float
    is_ours: bool = False


class Sender:
    """Sends messages to one target over its own connections."""

    def __init__(
        self,
        target: Target,
        sign: Sign | None = None,
        rejects: Rejects | None = None,
        *,
        lookup: resolver.Lookup = resolver.look_up,
    ) -> None:
        self._sign = sign
        self._rejects = rejects
        self._seconds = target.timeout.total_seconds()
        secrets = [secret.get_secret_value() for secret in target.secrets]
        self._keys = [signing.key(secret) for secret in secrets]
        self._shared = signing.shared(secrets)
        self._url = url = target.url.get_secret_value()
        hidden = [*masking.of_url(url), *masking.pieces(url), *masking.of_target(target)]
        self._hidden = masking.longest_first(masking.spellings(hidden))
        headers = {name: value.get_secret_value() for name, value in target.headers}
        self._client = connection.PinnedClient(url, target, headers | credentials.header(target.auth), lookup=lookup)
        self._tokens = credentials.Tokens(target, target.auth, lookup) if isinstance(target.auth, OAuth2) else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        if self._tokens is not None:
            await self._tokens.close()

    def headers(self, message_id: str, content: Content, timestamp: int) -> dict[str, str]:
        """Return an attempt's headers: the message's id and content type, and its signatures."""
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

    async def send(self, message_id: str, content: Content, timestamp: int) -> SendResult:
        """Make one attempt. Whatever the target does, it ends in time with a result."""
        started = time.perf_counter()
        headers = self.headers(message_id, content, timestamp)
        try:
            if self._tokens is None:
                reply = await self._client.post(headers, content.body, self._seconds)
            else:
                reply = await self._post_with_token(self._tokens, headers, content.body, started + self._seconds)
        except errors.NoAnswer as error:
            ours, took = isinstance(error, errors.OutOfResources), time.perf_counter() - started
            return SendResult(None, self._mask(str(error)), None, None, took, ours)
        except Exception as error:  # an unforeseen error must not retry one message for ever
            log.exception("sender.broken", message=message_id)
            why = f"the request failed with {type(error).__name__} (please report it)"
            return SendResult(None, why, None, None, time.perf_counter() - started)
        took = time.perf_counter() - started
        if reply.status in SUCCESS:
            rejection = None if self._rejects is None else self._rejects(reply.status, reply.body)
            if rejection is None:
                return SendResult(reply.status, None, None, self._excerpt(reply.body), took)
            why = f", but {rejection}"
        else:
            why = self._moved(reply)
        text = self._mask(f"answered {reply.status}{why}")
        return SendResult(reply.status, text, reply.retry_after, self._excerpt(reply.body), took)

    async def _post_with_token(
        self, tokens: credentials.Tokens, headers: dict[str, str], body: bytes, ends: float
    ) -> connection.Response:
        """Post with an access token; post again with a new token if a cached one is rejected."""
        cached = tokens.cached()
        if cached is not None:
            reply = await self._client.post(headers | _bearer(cached), body, ends - time.perf_counter())
            if reply.status != UNAUTHORIZED:
                return reply
            tokens.drop(cached)
        token = await tokens.fetch(ends - time.perf_counter())
        return await self._client.post(headers | _bearer(token), body, ends - time.perf_counter())

    def _moved(self, reply: connection.Response) -> str:
        """Return where a redirect leads: only the host, because a path may be secret."""
        if reply.status not in REDIRECTS or not reply.location:
            return ""
        try:
            parts = urlsplit(urljoin(self._url, reply.location))
            port = "" if parts.port is None else f":{parts.port}"
        except ValueError:
            return ""
        if parts.scheme not in {"http", "https"} or not PLAIN.fullmatch(parts.hostname or ""):
            return ""
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f": moved to {parts.scheme}://{host}{port}/…; update the URL"

    def _excerpt(self, body: bytes) -> str | None:
        """Return the beginning of a body, masked before it is cut, so that no half of a secret remains."""
        if not body:
            return None
        return self._mask(body.decode("utf-8", "replace").replace("\x00", "\ufffd"))[:EXCERPT] or None

    def _mask(self, text: str) -> str:
        tokens = () if self._tokens is None else self._tokens.known
        return mask(text, [*masking.spellings(tokens), *self._hidden])


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
