"""Opening connections: only to addresses that were checked, to the next one if one is slow, and through proxies."""

from __future__ import annotations

import asyncio
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
COULD_NOT = "could not connect"


class Dialer:
    """Opens connections for one URL, through a proxy or not. ``url`` names whom a certificate must be for."""

    def __init__(self, url: Url, tls: Tls | None, proxy: Url | None, proxy_header: bytes) -> None:
        self._url = url
        self._tls = tls
        self._proxy = proxy
        self._proxy_header = proxy_header
        self._name = url.host.strip("[]").removesuffix(".")

    async def open(self, addresses: Sequence[str], ends: float) -> HttpConnection:
        """Connect to the first address that accepts, or else raise NoAnswer for the first that failed."""
        waiting = interleaved(addresses)
        running: set[asyncio.Task[HttpConnection]] = set()
        failure: errors.NoAnswer | None = None
        try:
            while waiting or running:
                if waiting:
                    running.add(asyncio.create_task(self._open_one(waiting.pop(0), ends)))
                patience = PATIENCE if waiting else None
                done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    running.remove(task)
                    try:
                        return task.result()
                    except errors.OutOfResources:
                        raise
                    except errors.NoAnswer as error:
                        failure = failure or error
        finally:
            for task in running:
                task.cancel()
                task.add_done_callback(_close)
        raise failure or errors.NoAnswer(f"{COULD_NOT}: no address")

    async def _open_one(self, address: str, ends: float) -> HttpConnection:
        """Connect to an address. Raises NoAnswer."""
        try:
            context = tls_rules.context(self._tls) if self._url.scheme == "https" else None
            if self._proxy is None or context is None:
                return await self._connect(address, context)
            connection = await self._connect(address, None)
            try:
                await self._tunnel(connection, context, ends)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise no_answer(COULD_NOT, error) from None
        return connection

    async def _connect(self, address: str, context: ssl.SSLContext | None) -> HttpConnection:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, (address, (self._proxy or self._url).port))
            _transport, connection = await loop.create_connection(
                lambda: HttpConnection(loop, address, sock),
                sock=sock,
                ssl=context,
                server_hostname=self._name if context else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    async def _tunnel(self, connection: HttpConnection, context: ssl.SSLContext, ends: float) -> None:
        """Ask the proxy for a connection to the target, and begin TLS inside it. Raises NoAnswer and OSError."""
        place = f"{self._url.host}:{self._url.port}".encode()
        request = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (place, place, self._proxy_header)
        try:
            answer = await connection.request(request, ends, 0.0, is_tunnel=True)
        except BrokenError as error:
            raise no_answer(f"{COULD_NOT}: the proxy broke the connection", error.reason) from None
        if answer.status not in SUCCESSFUL_CONNECT:
            remedy = " (check its user and password)" if answer.status == PROXY_UNAUTHORIZED else ""
            raise errors.NoAnswer(f"{COULD_NOT}: the proxy answered {answer.status}{remedy}")
        if connection.is_closed:
            raise errors.NoAnswer(f"{COULD_NOT}: the proxy closed the connection")
        transport = await asyncio.get_running_loop().start_tls(
            connection.transport, connection, context, server_hostname=self._name
        )
        if transport is None:  # the proxy closed it during the handshake
            raise ConnectionResetError
        connection.transport = transport


def interleaved(addresses: Sequence[str]) -> list[str]:
    """Return addresses in the given order, but IPv6 and IPv4 by turns, beginning with the kind of the first."""
    first = [each for each in addresses if (":" in each) == (":" in addresses[0])]
    other = [each for each in addresses if each not in first]
    return [each for each in chain.from_iterable(zip_longest(first, other)) if each is not None]


def no_answer(what: str, reason: BaseException | str | None, hint: str = "") -> errors.NoAnswer:
    """Return the error that says what failed and why; ``None`` is a connection that ended."""
    kind = errors.NoAnswer
    if isinstance(reason, ssl.SSLError):
        return kind(f"{what}: {tls_rules.explain(reason)}")
    if isinstance(reason, OSError):
        kind = errors.OutOfResources if reason.errno in RESOURCES else kind
        words = str(reason) or "the connection was closed during the handshake"
        why = words if reason.errno is None else f"{os.strerror(reason.errno)} (os error {reason.errno})"
    else:
        why = str(reason or "connection closed before message completed")
    return kind(f"{what}: {why}{hint}")


def proxy_header(proxy: str | None) -> bytes:
    """Return the header with the credentials in a proxy's URL."""
    parts = urlsplit(proxy or "")
    if parts.username is None:
        return b""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return b"proxy-authorization: Basic %b\r\n" % b64encode(pair.encode())


def _close(task: asyncio.Task[HttpConnection]) -> None:
    """Close a connection that is no longer needed."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
