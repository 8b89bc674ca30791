"""An HTTP client for one URL: connections that are kept, each to an address that was checked.

It follows no redirects, ignores proxy environment variables and does not decompress.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import daemon
from daemon import errors
from daemon.outbound import connecting, resolver, urls
from daemon.outbound.http_connection import BrokenError, HttpConnection
from daemon.outbound.http_response import LARGEST_BODY, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.settings import Egress, Target

__all__ = ["LARGEST_BODY", "PinnedClient", "Response"]
MOMENT = 0.5  # seconds that are spent on the rest of an answer whose status is known
REQUIRED_HINT = " (the target may require tls.certificate and tls.key)"
REFUSED_HINT = " (check whether the target accepts tls.certificate)"
IDLE = 60.0  # seconds for which an unused connection is kept


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
        moment: float = MOMENT,
    ) -> None:
        self._url = urls.parse(url)
        proxy = None if target.proxy is None else target.proxy.get_secret_value()
        self._proxy = None if proxy is None else urls.parse(proxy)
        self._moment = moment
        self._seconds = target.timeout.total_seconds()
        self._hint = ""  # for connections that break at once: a reset can overtake the alert that says why
        if self._url.scheme == "https":
            has_identity = target.tls is not None and target.tls.identity is not None
            self._hint = REFUSED_HINT if has_identity else REQUIRED_HINT
        self._most_idle = target.concurrency
        there = _host(self._url, target.egress, lookup, clock)
        self._host = there if self._proxy is None else _host(self._proxy, resolver.ANYWHERE, lookup, clock)
        self._behind_proxy = None if self._proxy is None else there
        credentials = connecting.proxy_header(proxy)
        self._dialer = connecting.Dialer(self._url, target.tls, self._proxy, credentials)
        self._begin = self._request_begin(headers or {}, credentials)
        self._idle: list[HttpConnection] = []
        self._busy: set[HttpConnection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def post(self, headers: Mapping[str, str], body: bytes, seconds: float) -> Response:
        """Post once; once more if a kept connection turns out to be closed.

        Raises NoAnswer, whose text may contain a secret.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        data = b"%b%bcontent-length: %d\r\n\r\n%b" % (self._begin, _lines(headers), len(body), body)
        if self._behind_proxy is not None:
            await self._behind_proxy.check(max(seconds, 0.0))
        addresses = self._host.fresh() or await self._host.permitted(max(ends - loop.time(), 0.0))
        idle = self._take_idle(addresses, loop.time())
        while True:
            connection = idle or await self._open(addresses, ends)
            self._busy.add(connection)
            try:
                return await connection.request(data, ends, self._moment)
            except TimeoutError:
                raise errors.NoAnswer(f"no response within {self._seconds:g} s") from None
            except BrokenError as error:
                if idle is None or not error.was_silent:
                    raise self._failure(error) from None
            finally:
                self._busy.discard(connection)
                self._keep(connection, loop)
            idle = None

    async def close(self) -> None:
        """Close all connections."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes sockets in its next round

    def _request_begin(self, headers: Mapping[str, str], credentials: bytes) -> bytes:
        """Return what is the same in every request."""
        target = self._url.target
        if self._proxy is not None and self._url.scheme == "http":
            target = f"http://{self._url.authority}{target}"
        else:
            credentials = b""  # go with CONNECT, and never to the target
        own = {"host": self._url.authority, "user-agent": f"pagerelay/{daemon.__version__}", "accept": "*/*"}
        names = {name.lower() for name in headers}
        own = {name: value for name, value in own.items() if name not in names}
        return b"POST %b HTTP/1.1\r\n%b%b%b" % (target.encode(), _lines(own), credentials, _lines(headers))

    def _take_idle(self, addresses: Sequence[str], now: float) -> HttpConnection | None:
        """Return a kept connection to an address that is still permitted."""
        while self._idle:
            connection = self._idle.pop()
            if connection.address in addresses and now - connection.idle_since < IDLE and not connection.is_closed:
                return connection
            connection.close()
        return None

    async def _open(self, addresses: Sequence[str], ends: float) -> HttpConnection:
        """Open a connection, rather to an address in use. Raises NoAnswer."""
        used = {each.address for each in (*self._busy, *self._idle)}
        try:
            async with asyncio.timeout_at(ends):
                return await self._dialer.open(sorted(addresses, key=lambda each: each not in used), ends)
        except TimeoutError:
            self._host.doubt()
            raise errors.NoAnswer(f"could not connect within {self._seconds:g} s") from None
        except errors.NoAnswer:
            self._host.doubt()
            raise

    def _keep(self, connection: HttpConnection, loop: asyncio.AbstractEventLoop) -> None:
        """Keep a connection that can carry another request; close any other."""
        if not connection.may_reuse or len(self._idle) >= self._most_idle:
            connection.close()
            return
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE, self._close_idle, loop)

    def _close_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections that have not been used for long; they are the first."""
        while self._idle and (self._idle[0].is_closed or self._idle[0].idle_since <= loop.time() - IDLE):
            self._idle.pop(0).close()
        self._sweep = loop.call_at(self._idle[0].idle_since + IDLE, self._close_idle, loop) if self._idle else None

    def _failure(self, error: BrokenError) -> errors.NoAnswer:
        if isinstance(error.reason, str):
            return errors.NoAnswer(error.reason)
        return connecting.no_answer("the connection broke", error.reason, self._hint if error.was_silent else "")


def _host(url: urls.Url, rules: Egress, lookup: resolver.Lookup, clock: Callable[[], float]) -> resolver.Host:
    return resolver.Host(url.host, url.port, rules, lookup, clock)


def _lines(headers: Mapping[str, str]) -> bytes:
    """Return header lines. Raises NoAnswer if a value would break out of its line."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\x00" in text:
        raise errors.NoAnswer("a header contains a line break (remove it)")
    return text.encode()
