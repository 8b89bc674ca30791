"""uvicorn in the daemon's event loop, without its signal handlers, log and banner."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import uvicorn

from daemon import errors
from daemon.api import protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp

GRACE_SECONDS = 2
LONGEST_HEAD = 32 * 1024  # bytes
LOOK_SECONDS = 0.01


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, bound: socket.socket) -> AsyncIterator[str]:
    """Serve ``app`` on a bound socket inside the context; yield the URL with the port."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http=protocol.bounded(),  # on h11, which bounds heads without end and pipelined requests; httptools does not
        h11_max_incomplete_event_size=LONGEST_HEAD,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[bound]), name="api")
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(LOOK_SECONDS)
        yield _url(bound)
    finally:
        server.should_exit = True
        await task


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket; ``::`` listens on IPv6 and IPv4.

    Raises PagerelayError if the address cannot be used, as ConfigurationError if it never can.
    """
    try:
        bound = _listen(host.strip("[]"), port)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # otherwise asyncio's own loop is 40 ms late
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        message = f"api.listen: cannot listen on {host}:{port}: {reason} (choose another port, or null)"
        if isinstance(error, PermissionError):
            raise errors.ConfigurationError([message]) from error
        raise errors.PagerelayError(message) from error
    return bound


def _listen(host: str, port: int) -> socket.socket:
    if host != "::":
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    if socket.has_dualstack_ipv6():
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - what "::" means on a machine without IPv6


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
