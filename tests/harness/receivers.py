"""Webhook receivers on loopback for tests, well-behaved or not."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from standardwebhooks.webhooks import Webhook

from tests.harness.listening import listening

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

SECRET = "whsec_cGFnZXJlbGF5LXRlc3Qtc2VjcmV0LTAxMjM0NQ=="


@dataclass(frozen=True)
class Request:
    """One received request."""

    headers: dict[str, str]
    body: bytes
    path: str = "/"
    at: float = field(default_factory=time.time)

    @property
    def id(self) -> str:
        """Return the webhook-id."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        """Return the body, verified by the independent implementation of Standard Webhooks."""
        return Webhook(SECRET).verify(self.body, self.headers)


@dataclass(frozen=True)
class Reply:
    """A receiver's behaviour: respond once ``held`` has ended and after ``delay``, or drip or hang (``how``)."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    held: Callable[[], Awaitable[object]] | None = None
    delay: float = 0.0
    how: str = "answer"


OK = Reply()
Behaviour = "Callable[[Request], Reply]"


@dataclass
class Receiver:
    """A receiver that behaves as ``behave`` says and records its requests."""

    behave: Callable[[Request], Reply] = lambda _request: OK
    got: list[Request] = field(default_factory=list)
    accepted: list[Request] = field(default_factory=list)
    connections: int = 0

    @asynccontextmanager
    async def serving(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[str]:
        """Serve on the given port, or else a free one; yield the URL."""

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            while await self._serve_one(reader, writer):
                pass

        async with listening(converse, host, port, tls) as bound:
            yield f"http{'s' if tls else ''}://{host}:{bound}/hook"

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(headers, body, first.split(" ")[1])
        reply = self.behave(request)
        self.got.append(request)
        if reply.held is not None:
            await reply.held()
        if reply.delay:
            await asyncio.sleep(reply.delay)
        is_success = 200 <= reply.status < 300
        if is_success and reply.how in ENDLESS:
            self.accepted.append(request)
        alive = await HOWS[reply.how](reply, writer)
        if is_success and alive:
            self.accepted.append(request)
        return alive


async def _answer(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    headers = {"content-length": str(len(reply.body))} | reply.headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {reply.status} Whatever\r\n{lines}\r\n".encode() + reply.body)
    await writer.drain()
    return True


async def _hang(_reply: Reply, _writer: asyncio.StreamWriter) -> bool:
    await asyncio.Event().wait()
    return False


async def _drip(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    """Send a head at once, then one byte now and then, forever."""
    writer.write(f"HTTP/1.1 {reply.status} Slow\r\ncontent-length: 100000\r\n\r\n".encode())
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _reset(_reply: Reply, writer: asyncio.StreamWriter) -> bool:
    writer.transport.abort()
    return False


async def _endless(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    """Send an endless body as fast as it is read."""
    writer.write(f"HTTP/1.1 {reply.status} Big\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    while True:
        writer.write(chunk)
        await writer.drain()


HOWS: dict[str, Callable[[Reply, asyncio.StreamWriter], Awaitable[bool]]] = {
    "answer": _answer,
    "hang": _hang,
    "drip": _drip,
    "reset": _reset,
    "endless": _endless,
}
ENDLESS = frozenset({"drip", "endless"})  # the status line alone decides


def payload(request: Request) -> Any:
    """Return the body without verification, for receivers with another secret."""
    return json.loads(request.body)
