"""A small HTTP/1.1 server on loopback over h11, whose responses may be slow, truncated, or missing.

An ordinary server corrects a handler's mistakes; this one makes them on demand.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import orjson

from daemon import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

READ_SIZE = 65_536
LARGEST_BODY = 4 * 1024 * 1024
LOOPBACK = "127.0.0.1"


class Ending(enum.Enum):
    """The end of a response: complete, cut off in its body, or reset before its first byte."""

    WHOLE = enum.auto()
    CUT = enum.auto()
    RESET = enum.auto()


@dataclass(frozen=True, slots=True)
class SimRequest:
    """A request with header names in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def is_write(self) -> bool:
        """Return whether the request may change something."""
        return self.method != "GET"

    def get(self, name: str) -> str | None:
        """Return a query parameter's first value."""
        return next((value for key, value in self.query if key == name), None)

    def all(self, name: str) -> list[str]:
        """Return every value of a repeated query parameter, written with or without brackets."""
        return [value for key, value in self.query if key in {name, f"{name}[]"}]


@dataclass(frozen=True, slots=True)
class SimResponse:
    """A response, sent after ``pause`` seconds."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    ending: Ending = Ending.WHOLE


def json_answer(value: object, status: int = 200) -> SimResponse:
    """Return a JSON response."""
    return SimResponse(status, orjson.dumps(value), {"content-type": "application/json; charset=utf-8"})


@contextlib.asynccontextmanager
async def listening(answer: Callable[[SimRequest], Awaitable[SimResponse]], port: int) -> AsyncIterator[str]:
    """Serve inside the context; yield the URL with the bound port. Raises PagerelayError if it is in use."""
    open_connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        open_connections[task] = writer
        try:
            # Python 3.11's streams log an error about a task that ends cancelled.
            with contextlib.suppress(ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
                await _converse(reader, writer, answer)
        finally:
            del open_connections[task]
            writer.close()

    try:
        server = await asyncio.start_server(connected, LOOPBACK, port)
    except OSError as error:
        message = f"--port: cannot listen on {LOOPBACK}:{port}: {error.strerror} (choose another port)"
        raise errors.PagerelayError(message) from error
    try:
        yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        tasks = list(open_connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answer: Callable[[SimRequest], Awaitable[SimResponse]],
) -> None:
    """Serve one connection, request after request."""
    talk = h11.Connection(h11.SERVER)
    while True:
        request = await _receive(talk, reader)
        if request is None:
            return
        response = await answer(request)
        await asyncio.sleep(response.pause)
        if response.ending is Ending.RESET:
            # Without lingering, closing sends a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
        headers = response.headers | {"content-length": str(len(response.body))}
        sent = talk.send(h11.Response(status_code=response.status, headers=list(headers.items())))
        writer.write(sent or b"")
        if response.ending is Ending.CUT:
            writer.write(talk.send(h11.Data(data=response.body[: len(response.body) // 2])) or b"")
            return
        writer.write(talk.send(h11.Data(data=response.body)) or b"")
        writer.write(talk.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        if talk.our_state is h11.MUST_CLOSE:
            return
        talk.start_next_cycle()


async def _receive(talk: h11.Connection, reader: asyncio.StreamReader) -> SimRequest | None:
    """Return the next request, or None at the end."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            talk.receive_data(await reader.read(READ_SIZE))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LARGEST_BODY:
                return None
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return _request(head, bytes(body))
        else:
            return None


def _request(head: h11.Request, body: bytes) -> SimRequest:
    parts = urlsplit(head.target.decode("ascii", "replace"))
    return SimRequest(
        method=head.method.decode("ascii"),
        path=unquote(parts.path),
        query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
        body=body,
    )
