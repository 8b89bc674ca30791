"""One connection to a target, over which one request at a time is made."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from daemon.outbound.http_response import LARGEST_BODY, NotHttpError, Response, ResponseParser, read_whole

if TYPE_CHECKING:
    import socket

NOT_HTTP = "the answer is not HTTP: it has no status line such as HTTP/1.1 200 OK"


class BrokenError(Exception):
    """The connection ended without an answer. ``was_silent``: not one byte of one had arrived."""

    def __init__(self, reason: BaseException | str | None, *, was_silent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.was_silent = was_silent


class HttpConnection(asyncio.Protocol):
    """A connection to one checked ``address``. Whoever made a request closes it, unless it ``may_reuse``."""

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, sock: socket.socket) -> None:
        self._loop = loop
        self._socket = sock
        self.address = address
        self.is_closed = self.may_reuse = False
        self.idle_since = 0.0
        self._answer: asyncio.Future[Response] = loop.create_future()
        self._answer.cancel()  # nobody asked
        self._parser: ResponseParser | None = None  # of an answer that does not arrive in one piece
        self._is_tunnel = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._moment = 0.0

    def request(self, data: bytes, ends: float, moment: float, *, is_tunnel: bool = False) -> asyncio.Future[Response]:
        """Send a request; return its response, TimeoutError after ``ends`` (the loop's time), or BrokenError.

        Once the status is known, at most ``moment`` seconds are spent on the rest.
        """
        self._answer = answer = self._loop.create_future()
        self._parser, self._is_tunnel, self.may_reuse = None, is_tunnel, False
        self._moment, self._due = moment, ends
        if self._timer is None or self._timer.when() > ends:
            self._set_timer()
        self.transport.write(data)
        return answer

    def close(self) -> None:
        """Close the connection at once. A request that is under way breaks."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, which TLS replaces."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's have another class

    def data_received(self, data: bytes) -> None:
        """Read the answer, or a part of it."""
        if self._answer.done():  # nobody asked
            self.close()
        elif self._parser is None and not self._is_tunnel and (whole := read_whole(data)) is not None:
            response, may_reuse = whole
            self._keep_open(may_reuse=may_reuse)
            self._answer.set_result(response)
        else:
            self._read_part(data)

    def _read_part(self, data: bytes) -> None:
        if self._parser is None:
            self._parser = ResponseParser(is_tunnel=self._is_tunnel)
        parser = self._parser
        was_unknown = parser.status is None
        try:
            parser.feed(data)
        except NotHttpError:
            self._fail(NOT_HTTP)
            return
        if parser.is_complete:
            self._keep_open(may_reuse=parser.may_reuse)
            self._answer.set_result(parser.response())
        elif was_unknown and parser.status is not None:
            self._due = min(self._due, self._loop.time() + self._moment)
            self._set_timer()

    def _keep_open(self, *, may_reuse: bool) -> None:
        """Let the connection be used again if that is safe: both sides have sent everything."""
        self.may_reuse = may_reuse and not self.is_closed and not self.transport.get_write_buffer_size()

    def eof_received(self) -> None:
        """Take what has arrived as the whole answer."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take what has arrived as the whole answer, even if the request could not be sent completely."""
        if exc is not None and self.transport.get_extra_info("ssl_object") is None:
            self._read_what_is_left()
        self._end(exc)

    def _read_what_is_left(self) -> None:
        """Read an answer that came before the request was sent: the failure to send hides it."""
        with contextlib.suppress(OSError, ValueError):
            while not self._answer.done() and (data := self._socket.recv(LARGEST_BODY)):
                self.data_received(data)

    def _end(self, reason: BaseException | None) -> None:
        self.is_closed, self.may_reuse = True, False
        if self._answer.done():
            return
        if self._parser is None:
            self._fail(reason)
            return
        try:
            self._parser.end()
        except NotHttpError:
            self._fail(NOT_HTTP)
            return
        if self._parser.status is None:
            self._fail(reason)
        else:
            self._answer.set_result(self._parser.response())

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._expire)

    def _expire(self) -> None:
        """End the request if its time is over; a timer of an earlier request is set anew."""
        self._timer = None
        if self._answer.done():
            return
        if self._loop.time() < self._due:
            self._set_timer()
        elif self._parser is not None and self._parser.status is not None:
            self._answer.set_result(self._parser.response())
        else:
            self._answer.set_exception(TimeoutError())

    def _fail(self, reason: BaseException | str | None) -> None:
        self._answer.set_exception(BrokenError(reason, was_silent=self._parser is None))
