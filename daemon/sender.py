"""The only module that talks to targets: one signed POST, bounded in time and in size.

No error and no excerpt of an answer holds a secret of the target.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pyreqwest import exceptions
from pyreqwest.http import Url

from daemon import egress, errors, hosts, masking, signing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyreqwest.client import ClientBuilder
    from pyreqwest.response import BaseResponse

    from daemon.model import Content, Target

    Sign = Callable[[bytes, Sequence[str]], Mapping[str, str]]

LARGEST_ANSWER = 64 * 1024
EXCERPT = 1024
SUCCESS = range(200, 300)
CONNECTING = "client error (Connect)"  # how the library says that there was no connection yet


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

    def __init__(self, target: Target, sign: Sign | None = None, *, lookup: hosts.Lookup = hosts.look_up) -> None:
        self._sign = sign
        url = target.url.get_secret_value()
        self._url = Url(url)
        self._seconds = target.timeout.total_seconds()
        secrets = [secret.get_secret_value() for secret in target.secrets]
        self._keys = [signing.key(secret) for secret in secrets]
        self._shared = signing.shared(secrets)
        headers = {name: value.get_secret_value() for name, value in target.headers}
        self._hidden = masking.longest_first([*masking.of_url(url), *masking.of_target(target)])

        def furnished(builder: ClientBuilder) -> ClientBuilder:
            return builder.default_headers(headers).pool_max_idle_per_host(target.concurrency)

        self._route = egress.Route(self._url, target.egress, target.timeout, furnished, target.proxy, lookup=lookup)

    async def close(self) -> None:
        """Close the connections."""
        await self._route.close()

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
        failures: dict[str, str] = {}  # by the addresses that could not be connected to
        while True:
            left = max(self._seconds - (time.perf_counter() - started), 0.0)
            try:
                line = self._route.ready() or await self._route.line(left)
            except errors.NoWay as error:
                return self._failed(self._mask(str(error)), started)
            if line.address in failures:
                await line.release()
                return self._failed(failures.popitem()[1], started)
            try:
                status, retry_after, body = await self._post(line, headers, content.body, left)
            except exceptions.PyreqwestError as error:
                failure = self._explain(error)
                if CONNECTING not in _causes(error):
                    return self._failed(failure, started)
                self._route.failed(line)
                failures[line.address] = failure
            else:
                return self._answer(status, retry_after, body, time.perf_counter() - started)

    async def _post(
        self, line: egress.Line, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> tuple[int, str | None, bytes]:
        """One request on a line: status, Retry-After, and the beginning of the answer."""
        request = (
            line.client.post(self._url)
            .headers(headers)
            .body_bytes(body)
            .timeout(timedelta(seconds=seconds))
            .streamed_read_buffer_limit(LARGEST_ANSWER)
            .build_streamed()
        )
        try:
            async with request as response:
                answer = await response.body_reader.read(LARGEST_ANSWER)
                return response.status, _text_header(response, "retry-after"), bytes(answer or b"")
        finally:
            await line.release()

    def _answer(self, status: int, retry_after: str | None, body: bytes, seconds: float) -> Answer:
        if status in SUCCESS:
            return Answer(status, None, None, None, seconds)
        return Answer(status, f"answered {status}", retry_after, self._excerpt(body), seconds)

    def _failed(self, error: str, started: float) -> Answer:
        return Answer(None, error, None, None, time.perf_counter() - started)

    def _explain(self, error: exceptions.PyreqwestError) -> str:
        """The innermost cause, in the system's words; the outer ones name the URL."""
        causes = _causes(error)
        if CONNECTING in causes:
            return self._mask(f"could not connect: {causes[-1]}")
        if isinstance(error, exceptions.RequestTimeoutError):
            return f"no answer within {self._seconds:g} s"
        what = "the connection broke"
        return self._mask(f"{what}: {causes[-1]}" if causes else what)

    def _excerpt(self, answer: bytes) -> str | None:
        """The beginning of an answer; masked before it is cut, or half a secret could be left."""
        return self._mask(answer.decode("utf-8", "replace").replace("\x00", "\ufffd"))[:EXCERPT] or None

    def _mask(self, text: str) -> str:
        return masking.masked(text, self._hidden)


def _causes(error: exceptions.PyreqwestError) -> list[str]:
    """What came of what, the innermost last."""
    told = error.details["causes"] if isinstance(error, exceptions.DetailedPyreqwestError) else None
    return [cause["message"] for cause in told or ()]


def _text_header(response: BaseResponse, name: str) -> str | None:
    try:
        return response.get_header(name)
    except ValueError:  # bytes that are no text
        return None
