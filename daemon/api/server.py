"""uvicorn in the daemon's own event loop: without its signal handlers, its log and its banner."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import uvicorn

from daemon import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi import FastAPI

GRACE_SECONDS = 2
MOST_REQUESTS = 256
LOOK_SECONDS = 0.01


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield


@contextlib.asynccontextmanager
async def listening(app: FastAPI, bound: socket.socket) -> AsyncIterator[str]:
    """Serve ``app`` on a bound socket while inside; yields the URL with the port that was bound."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_REQUESTS,
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
    """A socket at that address. Raises PagerelayError if it cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host.strip("[]"), port), family=family)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or asyncio's own loop is 40 ms late
    except OSError as error:
        why = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        message = f"api.listen: cannot listen on {host}:{port}: {why} (choose another port, or null)"
        raise errors.PagerelayError(message) from error
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
