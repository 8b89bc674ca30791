"""Loopback servers for tests that leave no connection open, not even one accepted during the shutdown.

asyncio's own servers leave a connection open if it was accepted but not yet served when they closed, and the
warning about it appears in whatever test runs when it is garbage-collected.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(
    converse: Converse,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Run ``converse`` over each connection inside the context, then close it; yield the port. Raises OSError."""
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Task[None]] = set()

    def arrived() -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, _address = listener.accept()
            connection.settimeout(0)
            task = loop.create_task(_serve(connection, converse, tls))
            connections.add(task)
            task.add_done_callback(connections.discard)

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=1000) as listener:
        listener.settimeout(0)
        loop.add_reader(listener, arrived)
        try:
            yield listener.getsockname()[1]
        finally:
            loop.remove_reader(listener)
            await asyncio.sleep(0)  # so that each has begun: a task cancelled before its start closes nothing
            ending = list(connections)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending)


async def _serve(connection: socket.socket, converse: Converse, tls: ssl.SSLContext | None) -> None:
    """Serve one connection, and close it at the end whatever the other side does."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await converse(reader, writer)
            writer.close()
            await writer.wait_closed()
        finally:
            transport.abort()
