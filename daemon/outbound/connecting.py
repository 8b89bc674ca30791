"""Opening connections: only to addresses that were checked, to the next one if one is slow, and through proxies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from base64 import b64encode
from itertools import chain, zip_longest
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from daemon import errors
from daemon.outbound import tls as tls_rules
from daemon.outbound.http_connection import BrokenError, HttpConnection
from daemon.outbound.http_response import SUCCESSFUL_CONNECT
from daemon.outbound.resolver import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.outbound.urls import Url
    from daemon.settings import Tls

PATIENCE = 0.25  # seconds before the next address is tried beside one that does not respond (RFC 8305)
PROXY_UNAUTHORIZED = 407


class Dialer:
    """Opens connections for one URL, through a proxy or not. ``url`` names whom a certificate must be for."""

    def __init__(self, url: Url, tls: Tls | None, proxy: Url | None, proxy_header: bytes) -> None:
        self._url = url
        self._tls = tls
        self._proxy = proxy
        self._proxy_header = proxy_header
        self._port = (proxy or url).port

    async def open(self, addresses: Sequence[str], ends: float) -> HttpConnection:
        """Connect to the first address that accepts, or else raise NoAnswer for the first that failed."""
        waiting = list(interleaved(addresses))
        running: set[asyncio.Task[HttpConnection]] = set()
        failure: errors.NoAnswer | None = None
        try:
            while waiting or running:
                if waiting:
                    running.add(asyncio.create_task(self._open_one(waiting.pop(0), ends)))
                done, running = await asyncio.wait(
                    running, timeout=PATIENCE if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    try:
                        connection = task.result()
                    except errors.NoAnswer as error:
                        failure = failure or error
                        if isinstance(error, errors.OutOfResources):
                            raise
                    else:
                        done.remove(task)
                        running |= done
                        return connection
        finally:
            await _drop(running)
        raise failure or errors.NoAnswer("could not connect: no address")

    async def _open_one(self, address: str, ends: float) -> HttpConnection:
        """Connect to an address. Raises NoAnswer."""
        try:
            context = tls_rules.context(self._tls) if self._url.scheme == "https" else None
        except tls_rules.NoAuthoritiesError:
            raise errors.NoAnswer(
                "cannot create an HTTP client: No CA certificates on this machine (install ca-certificates)"
            ) from None
        try:
            return await self._connect(address, context, ends)
        except ssl.SSLError as error:
            raise errors.NoAnswer(f"could not connect: {tls_rules.explain(error)}") from None
        except OSError as error:
            kind = errors.OutOfResources if error.errno in RESOURCES else errors.NoAnswer
            raise kind(f"could not connect: {system_words(error)}") from None

    async def _connect(self, address: str, context: ssl.SSLContext | None, ends: float) -> HttpConnection:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        connection = HttpConnection(loop, address, sock)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, (address, self._port))
            first = context if self._proxy is None else None
            await loop.create_connection(lambda: connection, sock=sock, ssl=first, server_hostname=self._name(first))
            if context is not None and self._proxy is not None:
                await self._tunnel(connection, context, ends)
        except BaseException:
            connection.close()
            if connection.transport is None:
                sock.close()
            raise
        return connection

    async def _tunnel(self, connection: HttpConnection, context: ssl.SSLContext, ends: float) -> None:
        """Ask the proxy for a connection to the target, and begin TLS inside it. Raises NoAnswer."""
        place = f"{self._url.host}:{self._url.port}".encode()
        request = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (place, place, self._proxy_header)
        try:
            answer = await connection.request(request, ends, 0.0, is_tunnel=True)
        except BrokenError as error:
            raise errors.NoAnswer(f"could not connect: the proxy broke the connection{why(error)}") from None
        if answer.status not in SUCCESSFUL_CONNECT:
            remedy = " (check its user and password)" if answer.status == PROXY_UNAUTHORIZED else ""
            raise errors.NoAnswer(f"could not connect: the proxy answered {answer.status}{remedy}")
        if connection.transport is None or connection.is_closed:
            raise errors.NoAnswer("could not connect: the proxy closed the connection")
        transport = await asyncio.get_running_loop().start_tls(
            connection.transport, connection, context, server_hostname=self._name(context)
        )
        assert transport is not None  # noqa: S101 - for the type checker
        connection.transport, connection.is_used = transport, False

    def _name(self, context: ssl.SSLContext | None) -> str | None:
        return None if context is None else self._url.host.strip("[]").removesuffix(".")


def interleaved(addresses: Sequence[str]) -> list[str]:
    """Return addresses in the given order, but IPv6 and IPv4 by turns, beginning with the kind of the first."""
    first = [each for each in addresses if (":" in each) == (":" in addresses[0])]
    other = [each for each in addresses if each not in first]
    return [each for each in chain.from_iterable(zip_longest(first, other)) if each is not None]


def system_words(error: OSError) -> str:
    """Return what the system says about an error."""
    if error.errno is None:
        return str(error) or "the connection was closed during the handshake"
    return f"{os.strerror(error.errno)} (os error {error.errno})"


def why(error: BrokenError) -> str:
    """Return the reason of a broken connection, after a colon."""
    reason = error.reason
    if isinstance(reason, ssl.SSLError):
        return f": {tls_rules.explain(reason)}"
    if isinstance(reason, OSError):
        return f": {system_words(reason)}"
    return ": connection closed before message completed"


def proxy_header(proxy: str | None) -> bytes:
    """Return the header with the credentials in a proxy's URL."""
    parts = urlsplit(proxy or "")
    if parts.username is None:
        return b""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return b"proxy-authorization: Basic %b\r\n" % b64encode(pair.encode())


async def _drop(running: set[asyncio.Task[HttpConnection]]) -> None:
    """End attempts to connect that are no longer needed."""
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
    for task in running:
        if not task.cancelled() and task.exception() is None:
            with contextlib.suppress(OSError):
                task.result().close()
