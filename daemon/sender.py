"""The only module that talks to targets: one signed POST, bounded in time and in size.

Redirects are not followed, proxies of the environment are not used, answers are not
decompressed. No error and no excerpt of an answer holds a secret of the target.
"""

from __future__ import annotations

import base64
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pyreqwest import exceptions
from pyreqwest.client import ClientBuilder
from pyreqwest.http import Url

import daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyreqwest.response import BaseResponse

    from daemon.model import Content, Target

    Sign = Callable[[bytes, Sequence[str]], Mapping[str, str]]

LARGEST_ANSWER = 64 * 1024
EXCERPT = 1024
SUCCESS = range(200, 300)
SECRET_PREFIX = "whsec_"  # noqa: S105 - says that what follows is a secret
SHORTEST_SECRET = 8
CONNECTING = "client error (Connect)"  # how the library says that there was no connection yet
MASK = "***"


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

    def __init__(self, target: Target, sign: Sign | None = None) -> None:
        self._sign = sign
        url = target.url.get_secret_value()
        self._url = Url(url)
        self._seconds = target.timeout.total_seconds()
        self._secrets = tuple(secret.get_secret_value() for secret in target.secrets)
        self._keys = tuple(_key(secret) for secret in self._secrets)
        headers = [(name, value.get_secret_value()) for name, value in target.headers]
        hidden = [
            url,
            *_secret_parts(url),
            *self._secrets,
            *(value for _, value in headers),
        ]
        self._hidden = sorted((each for each in hidden if each), key=len, reverse=True)
        self._client = (
            ClientBuilder()
            .user_agent(f"pagerelay/{daemon.__version__}")
            .default_headers(dict(headers))
            .timeout(target.timeout)
            .connect_timeout(target.timeout)
            .follow_redirects(enable=False)
            .no_proxy()
            .gzip(enable=False)
            .brotli(enable=False)
            .deflate(enable=False)
            .zstd(enable=False)
            .http1_only()
            .pool_max_idle_per_host(target.concurrency)
            .build()
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def headers(self, message_id: str, content: Content, timestamp: int) -> dict[str, str]:
        """What an attempt's headers say of the message, and the signatures of it."""
        headers = {
            "content-type": content.content_type,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._keys, message_id, timestamp, content.body),
        }
        headers.update(content.headers)
        if self._sign is not None:
            headers.update(self._sign(content.body, self._secrets))
        return headers

    async def send(self, message_id: str, content: Content, timestamp: int) -> Answer:
        """Make one attempt. Whatever the target does, it ends in time with an Answer."""
        started = time.perf_counter()
        request = (
            self._client.post(self._url)
            .headers(self.headers(message_id, content, timestamp))
            .body_bytes(content.body)
            .streamed_read_buffer_limit(LARGEST_ANSWER)
            .build_streamed()
        )
        try:
            async with request as response:
                excerpt = await response.body_reader.read(LARGEST_ANSWER)
                status, retry_after = response.status, _text_header(response, "retry-after")
        except exceptions.RequestTimeoutError:
            return self._failed(f"no answer within {self._seconds:g} s", started)
        except exceptions.PyreqwestError as error:
            return self._failed(self._explain(error), started)
        took = time.perf_counter() - started
        if status in SUCCESS:
            return Answer(status, None, None, None, took)
        return Answer(status, f"answered {status}", retry_after, self._excerpt(bytes(excerpt or b"")), took)

    def _failed(self, error: str, started: float) -> Answer:
        return Answer(None, error, None, None, time.perf_counter() - started)

    def _explain(self, error: exceptions.PyreqwestError) -> str:
        """The innermost cause, in the system's words; the outer ones name the URL."""
        told = error.details["causes"] if isinstance(error, exceptions.DetailedPyreqwestError) else None
        causes = [cause["message"] for cause in told or ()]
        what = "could not connect" if CONNECTING in causes else "the connection broke"
        return self._mask(f"{what}: {causes[-1]}" if causes else what)

    def _excerpt(self, answer: bytes) -> str | None:
        """The beginning of an answer; masked before it is cut, or half a secret could be left."""
        return self._mask(answer.decode("utf-8", "replace").replace("\x00", "\ufffd"))[:EXCERPT] or None

    def _mask(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, MASK)
        return text


def signature(keys: tuple[bytes, ...], message_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature`` of Standard Webhooks: one signature for each key, the newest first."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    signed = (base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
    return " ".join(f"v1,{each}" for each in signed)


def _secret_parts(url: str) -> list[str]:
    """Path and query, which many answers repeat by themselves and which are long where they are a secret."""
    parts = urlsplit(url)
    return [each for each in (parts.path, parts.query) if len(each) >= SHORTEST_SECRET]


def _text_header(response: BaseResponse, name: str) -> str | None:
    try:
        return response.get_header(name)
    except ValueError:  # bytes that are no text
        return None


def _key(secret: str) -> bytes:
    """The key of a secret as Standard Webhooks writes it: base64 behind ``whsec_``."""
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))
