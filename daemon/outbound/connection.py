"""An HTTP client that is pinned to one checked address of a URL's host.

The HTTP library never resolves a name itself. The client is replaced when the name moves, so its open connections go to
a checked address as well. It follows no redirects, ignores proxy environment variables and does not decompress.
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
from daemon.model import SUCCESS
from daemon.outbound import certificates, resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyreqwest.client import Client
    from pyreqwest.response import BaseResponse

    from daemon.settings import Egress, Target

LARGEST_BODY = 64 * 1024
MOST_TRIED = 3  # addresses that share the time of one attempt
CONNECTING = "client error (Connect)"  # the library's words for an error before there was a connection


@dataclass
class AddressClient:
    """A client for one address. ``busy`` counts its requests, so that it can be closed after the last one."""

    client: Client
    address: str
    busy: int = 0
    is_retired: bool = False

    def acquire(self) -> AddressClient:
        """Count one more request."""
        self.busy += 1
        return self

    async def retire(self) -> None:
        """Accept no more requests, and close after the last one."""
        self.is_retired = True
        if not self.busy:
            await self.client.close()


@dataclass(frozen=True, slots=True)
class Response:
    """A response: its status, ``Retry-After`` unless it succeeded, and the beginning of its body."""

    status: int
    retry_after: str | None
    body: bytes


class PinnedClient:
    """Posts to one URL: a target's own, or that of its tokens. ``headers`` go with every request."""

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
        self._host = there if self._proxy is None else _host(self._proxy, resolver.ANYWHERE, lookup, clock)
        self._behind_proxy = None if self._proxy is None else there
        self._current: AddressClient | None = None
        self._must_resolve = False
        self._failed: set[str] = set()
        if self._proxy is None and self._host.is_address and self._host.is_permitted:
            with contextlib.suppress(errors.NoAnswer):  # the first request reports it
                self._current = self._client_for(self._host.name.strip("[]"), 1)

    async def post(self, headers: Mapping[str, str], body: bytes, seconds: float) -> Response:
        """Post once, to each permitted address in turn until one accepts the connection.

        Raises NoAnswer, whose text may contain a secret.
        """
        ends = time.perf_counter() + seconds
        failures: dict[str, str] = {}  # by address
        client = self._current_client()
        limit = None if client is not None and seconds == self._seconds else seconds
        while True:
            if client is None:
                client = await self._resolve(max(ends - time.perf_counter(), 0.0))
                limit = max(ends - time.perf_counter(), 0.0)
            if client.address in failures:
                client.busy -= 1
                raise errors.NoAnswer(failures.popitem()[1])
            try:
                return await self._post(client, headers, body, limit)
            except exceptions.PyreqwestError as error:
                failure = self._explain(error)
                if any(f"(os error {number})" in failure for number in resolver.RESOURCES):
                    raise errors.OutOfResources(failure) from None
                if CONNECTING not in _causes(error):
                    raise errors.NoAnswer(failure) from None
                self._mark_failed(client)
                failures[client.address] = failure
                client = None

    async def close(self) -> None:
        """Close all connections."""
        if self._current is not None:
            await self._current.client.close()

    async def _post(
        self, client: AddressClient, headers: Mapping[str, str], body: bytes, seconds: float | None
    ) -> Response:
        request = (
            client.client.post(self._url).headers(headers).body_bytes(body).streamed_read_buffer_limit(LARGEST_BODY)
        )
        if seconds is not None:  # less than the client's own time-out
            request = request.timeout(timedelta(seconds=max(seconds, 0.0)))
        try:
            async with request.build_streamed() as response:
                answer = await response.body_reader.read(LARGEST_BODY)
                again = None if response.status in SUCCESS else _text_header(response, "retry-after")
                return Response(response.status, again, bytes(answer or b""))
        finally:
            client.busy -= 1
            if client.is_retired and not client.busy:
                await client.client.close()

    def _explain(self, error: exceptions.PyreqwestError) -> str:
        """Return the innermost cause in the system's words; the outer ones contain the URL."""
        causes = _causes(error)
        if CONNECTING in causes:
            return f"could not connect: {causes[-1]}"
        if isinstance(error, exceptions.RequestTimeoutError):
            return f"no answer within {self._seconds:g} s"
        return f"the connection broke: {causes[-1]}" if causes else "the connection broke"

    def _current_client(self) -> AddressClient | None:
        """Return the current client if nothing has to be resolved first."""
        if self._current is None or self._must_resolve or not self._host.is_unchanged():
            return None
        if self._behind_proxy is not None and not self._behind_proxy.is_unchanged():
            return None
        return self._current.acquire()

    async def _resolve(self, seconds: float) -> AddressClient:
        """Resolve the host, return a client for a permitted address. Raises NoAnswer if that fails in ``seconds``."""
        if self._behind_proxy is not None:
            await self._behind_proxy.check(seconds)
        addresses = await self._host.permitted(seconds)
        if self._current is not None and self._current.address in addresses and not self._must_resolve:
            return self._current.acquire()
        self._must_resolve = False
        if self._failed.issuperset(addresses):
            self._failed.clear()
        return await self._switch_to(next(each for each in addresses if each not in self._failed), len(addresses))

    def _mark_failed(self, client: AddressClient) -> None:
        """Try another address next time, if there is one."""
        self._failed.add(client.address)
        self._must_resolve = True
        self._host.doubt()

    async def _switch_to(self, address: str, choice: int) -> AddressClient:
        old = self._current
        if old is not None and old.address == address:
            return old.acquire()
        self._current = client = self._client_for(address, choice).acquire()
        if old is not None:
            await old.retire()
        return client

    def _client_for(self, address: str, choice: int) -> AddressClient:
        builder = self._builder().connect_timeout(self._target.timeout / min(choice, MOST_TRIED))
        if not self._host.is_address:
            builder = builder.resolve(self._host.name, address, self._host.port)
        try:
            return AddressClient(builder.build(), address)
        except exceptions.BuilderError as error:  # for example on a machine without CA certificates
            message = f"cannot create an HTTP client: {_causes(error)[-1]}"
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
    """Return the chain of causes, the innermost last."""
    causes = error.details["causes"] if isinstance(error, exceptions.DetailedPyreqwestError) else None
    return [cause["message"] for cause in causes or ()]


def _text_header(response: BaseResponse, name: str) -> str | None:
    try:
        return response.get_header(name)
    except ValueError:  # not decodable
        return None
