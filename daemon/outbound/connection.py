"""The way to the host of a URL: a client for one address that was checked, and for nothing else.

The HTTP client never resolves a name by itself. It is made anew when the name leads elsewhere,
so that the connections that it keeps open are to a checked address, too. Redirects are not followed,
proxies of the environment are not used, answers are not decompressed.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pyreqwest import exceptions
from pyreqwest.client import ClientBuilder
from pyreqwest.http import Url
from pyreqwest.proxy import ProxyBuilder

import daemon
from daemon import errors
from daemon.outbound import certificates, resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyreqwest.client import Client
    from pyreqwest.response import BaseResponse

    from daemon.settings import Egress, Target

LARGEST_ANSWER = 64 * 1024
SUCCESS = range(200, 300)
MOST_TRIED = 3  # addresses that share the time of one attempt
CONNECTING = "client error (Connect)"  # how the library says that there was no connection yet


@dataclass
class Line:
    """A client for one address. ``busy`` counts its requests, so that it is closed behind the last of them."""

    client: Client
    address: str
    busy: int = 0
    is_old: bool = False

    def taken(self) -> Line:
        """The line, for one more request."""
        self.busy += 1
        return self

    async def leave(self) -> None:
        """Take no more requests."""
        self.is_old = True
        if not self.busy:
            await self.client.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status, Retry-After unless it was a success, and the beginning of the body."""

    status: int
    retry_after: str | None
    body: bytes


class Route:
    """The way to a URL of a target: its own, or that of its tokens. ``headers`` go with every request."""

    def __init__(
        self,
        url: str,
        target: Target,
        headers: Mapping[str, str] | None = None,
        *,
        lookup: resolver.Lookup = resolver.look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = Url(url)
        self._target = target
        self._headers = dict(headers or {})
        self._seconds = target.timeout.total_seconds()
        self._proxy = None if target.proxy is None else Url(target.proxy.get_secret_value())
        there = _host(self._url, target.egress, lookup, clock)
        self._host = there if self._proxy is None else _host(self._proxy, resolver.EVERYWHERE, lookup, clock)
        self._behind_proxy = None if self._proxy is None else there
        self._line: Line | None = None
        self._is_in_doubt = False
        self._failed: set[str] = set()
        if self._proxy is None and self._host.is_address and self._host.is_permitted:
            with contextlib.suppress(errors.NoAnswer):  # the first request says so
                self._line = self._line_to(self._host.name.strip("[]"), 1)

    async def post(self, headers: Mapping[str, str], body: bytes, seconds: float) -> Reply:
        """One request, at each permitted address in turn until there is a connection. Raises NoAnswer.

        The error may hold what is secret.
        """
        ends = time.perf_counter() + seconds
        failures: dict[str, str] = {}  # by the addresses that could not be connected to
        line = self._ready()
        limit = None if line is not None and seconds == self._seconds else seconds
        while True:
            if line is None:
                line = await self._find(max(ends - time.perf_counter(), 0.0))
                limit = max(ends - time.perf_counter(), 0.0)
            if line.address in failures:
                line.busy -= 1
                raise errors.NoAnswer(failures.popitem()[1])
            try:
                return await self._post(line, headers, body, limit)
            except exceptions.PyreqwestError as error:
                failure = self._explain(error)
                if CONNECTING not in _causes(error):
                    raise errors.NoAnswer(failure) from None
                self._give_up(line)
                failures[line.address] = failure
                line = None

    async def close(self) -> None:
        """Close all connections."""
        if self._line is not None:
            await self._line.client.close()

    async def _post(self, line: Line, headers: Mapping[str, str], body: bytes, seconds: float | None) -> Reply:
        request = (
            line.client.post(self._url).headers(headers).body_bytes(body).streamed_read_buffer_limit(LARGEST_ANSWER)
        )
        if seconds is not None:  # less than what the client would take
            request = request.timeout(timedelta(seconds=max(seconds, 0.0)))
        try:
            async with request.build_streamed() as response:
                answer = await response.body_reader.read(LARGEST_ANSWER)
                again = None if response.status in SUCCESS else _text_header(response, "retry-after")
                return Reply(response.status, again, bytes(answer or b""))
        finally:
            line.busy -= 1
            if line.is_old and not line.busy:
                await line.client.close()

    def _explain(self, error: exceptions.PyreqwestError) -> str:
        """The innermost cause, in the system's words; the outer ones name the URL."""
        causes = _causes(error)
        if CONNECTING in causes:
            return f"could not connect: {causes[-1]}"
        if isinstance(error, exceptions.RequestTimeoutError):
            return f"no answer within {self._seconds:g} s"
        return f"the connection broke: {causes[-1]}" if causes else "the connection broke"

    def _ready(self) -> Line | None:
        """The line, taken for a request, if nothing has to be found out for it."""
        if self._line is None or self._is_in_doubt or not self._host.is_unchanged():
            return None
        if self._behind_proxy is not None and not self._behind_proxy.is_unchanged():
            return None
        return self._line.taken()

    async def _find(self, seconds: float) -> Line:
        """The line, taken for a request. Raises NoAnswer if there is none, or if none is found within ``seconds``."""
        if self._behind_proxy is not None:
            await self._behind_proxy.check(seconds)
        found = await self._host.permitted(seconds)
        if self._line is not None and self._line.address in found and not self._is_in_doubt:
            return self._line.taken()
        self._is_in_doubt = False
        if self._failed.issuperset(found):
            self._failed.clear()
        return await self._go_to(next(each for each in found if each not in self._failed), len(found))

    def _give_up(self, line: Line) -> None:
        """No connection could be made: the next line goes to another address, if there is one."""
        self._failed.add(line.address)
        self._is_in_doubt = True
        self._host.doubt()

    async def _go_to(self, address: str, choice: int) -> Line:
        old = self._line
        if old is not None and old.address == address:
            return old.taken()
        self._line = line = self._line_to(address, choice).taken()
        if old is not None:
            await old.leave()
        return line

    def _line_to(self, address: str, choice: int) -> Line:
        builder = self._builder().connect_timeout(self._target.timeout / min(choice, MOST_TRIED))
        if not self._host.is_address:
            builder = builder.resolve(self._host.name, address, self._host.port)
        try:
            return Line(builder.build(), address)
        except exceptions.BuilderError as error:  # such as on a machine without any certificates
            message = f"no client can be made: {_causes(error)[-1]}"
            raise errors.NoAnswer(message) from None

    def _builder(self) -> ClientBuilder:
        builder = (
            ClientBuilder()
            .user_agent(f"pagerelay/{daemon.__version__}")
            .follow_redirects(enable=False)
            .no_proxy()
            .gzip(enable=False)
            .brotli(enable=False)
            .deflate(enable=False)
            .zstd(enable=False)
            .http1_only()
            .default_headers(self._headers)
            .timeout(self._target.timeout)
            .pool_max_idle_per_host(self._target.concurrency)
        )
        if self._target.tls is not None:
            builder = certificates.applied(self._target.tls, builder)
        return builder if self._proxy is None else builder.proxy(ProxyBuilder.all(self._proxy))


def _host(url: Url, rules: Egress, lookup: resolver.Lookup, clock: Callable[[], float]) -> resolver.Host:
    return resolver.Host(url.host_str or "", url.port_or_known_default or 0, rules, lookup, clock)


def _causes(error: exceptions.PyreqwestError) -> list[str]:
    """What came of what, the innermost last."""
    told = error.details["causes"] if isinstance(error, exceptions.DetailedPyreqwestError) else None
    return [cause["message"] for cause in told or ()]


def _text_header(response: BaseResponse, name: str) -> str | None:
    try:
        return response.get_header(name)
    except ValueError:  # bytes that are no text
        return None
