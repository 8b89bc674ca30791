"""HTTP/1.1 as uvicorn speaks it, with limits for clients that are slow, silent or too many.

A connection has a few seconds for each complete request, and for reading a response once the buffer is full. If too
many are open, the one that has been silent for longest makes room. Requests, not connections, count against the
limit of what is worked on at once (``request_limits``).
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import MutableMapping
    from typing import TypeVar

    Port = TypeVar("Port", int, int | None)

REQUEST_SECONDS = 10.0  # from the connection's start, or the last response, to the end of the request's body
READING_SECONDS = 30.0  # in which a client must read some of a response
MOST_CONNECTIONS = 1000
SHARE_OF_DESCRIPTORS = 4  # the API's connections take this part at most; the rest is for targets and the database
MAPPED = "::ffff:"  # an IPv4 address as an IPv6 one
TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def most_connections() -> int:
    """Return how many connections may be open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft // SHARE_OF_DESCRIPTORS)


def _unmapped(address: tuple[str, Port] | None) -> tuple[str, Port] | None:
    """Return an IPv4 address as such: a socket for both families shows it as ``::ffff:192.0.2.1``."""
    if address is None or not address[0].startswith(MAPPED):
        return address
    return address[0].removeprefix(MAPPED), address[1]


class BoundedProtocol(H11Protocol):
    """One connection. ``silent`` are those without a complete request, the oldest first; all share one."""

    request_seconds = REQUEST_SECONDS
    reading_seconds = READING_SECONDS
    most = MOST_CONNECTIONS
    silent: MutableMapping[BoundedProtocol, None]

    _request_timer: asyncio.TimerHandle | None = None
    _reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Admit a connection; the oldest silent one makes room if there are too many."""
        super().connection_made(transport)
        self.client, self.server = _unmapped(self.client), _unmapped(self.server)
        if len(self.connections) > self.most:
            oldest = next(iter(self.silent), self)
            oldest.silent.pop(oldest, None)
            oldest.transport.abort()
        if not transport.is_closing():
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._request_complete()
        self.resume_writing()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what has arrived; a complete request has met its deadline."""
        super().handle_events()
        if self.conn.their_state is not h11.IDLE and self.conn.their_state is not h11.SEND_BODY:
            self._request_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        if not self.transport.is_closing():
            self._await_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give the client some time to read."""
        super().pause_writing()
        self._reading_timer = self.loop.call_later(self.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read something."""
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
        super().resume_writing()

    def _await_request(self) -> None:
        self._request_complete()
        self.silent[self] = None
        self._request_timer = self.loop.call_later(self.request_seconds, self._too_slow)

    def _request_complete(self) -> None:
        self.silent.pop(self, None)
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _too_slow(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.write(TIMEOUT)
            self.transport.close()
        else:
            self.transport.abort()  # a request whose body does not arrive


def bounded() -> type[BoundedProtocol]:
    """Return the protocol for one server, whose connections share the limit."""
    return type("ServerProtocol", (BoundedProtocol,), {"silent": {}, "most": most_connections()})
