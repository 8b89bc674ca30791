"""Parsing HTTP/1 responses as they arrive. The status line decides; nothing after it can turn into an error.

Lenient where receivers are careless: spaces before a colon, folded lines, control characters, any number of headers.
Only a response whose end is beyond doubt lets its connection be used again. Pure.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

LARGEST_BODY = LARGEST_HEAD = 64 * 1024
MOST_DIGITS = 16  # of a length
STATUS_LINE = re.compile(rb"HTTP/([0-9](?:\.[0-9])?)[ \t]+([1-9][0-9]{2})(?=[ \t\r\n]|$)")
HEAD_END = re.compile(rb"\n\r?\n")
FOLD = re.compile(rb"\r?\n[ \t]+")
HEADER = re.compile(
    rb"^(content-length|transfer-encoding|connection|retry-after|location)[ \t]*:([^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?\r?")
INTERIM = range(100, 200)
SWITCHING = 101  # was not asked for, and nothing would follow it
NO_BODY = frozenset({101, 204, 304})
SUCCESSFUL_CONNECT = range(200, 300)


class NotHttpError(Exception):
    """The bytes that arrive have no status line."""


class Response(NamedTuple):
    """A response: its status, ``Retry-After`` and ``Location`` as sent, and the beginning of its body."""

    status: int
    retry_after: str | None
    body: bytes
    location: str | None = None


class Head(NamedTuple):
    """What the head of a response says.

    ``framing`` is how the body ends: after ``length`` bytes, with a chunk of ``size`` 0, or at the connection's
    ``close``.
    """

    status: int
    retry_after: str | None
    location: str | None
    framing: str
    length: int
    may_reuse: bool


@functools.lru_cache(maxsize=64)
def read_head(head: bytes, *, is_tunnel: bool = False) -> Head | None:
    """Return what a whole head says; None for one without a status line. Receivers repeat theirs.

    ``is_tunnel``: it answers CONNECT.
    """
    match = STATUS_LINE.match(head)
    if match is None:
        return None
    version, status = match[1], int(match[2])
    plain = FOLD.sub(b" ", head) if b"\n " in head or b"\n\t" in head else head
    headers: dict[bytes, bytes] = {}
    for spelt, text in HEADER.findall(plain):
        name, value = spelt.lower(), text.strip()
        headers[name] = headers[name] + b"," + value if name in headers and name != b"location" else value
    tokens = _items(headers.get(b"connection"))
    lengths = _items(headers.get(b"content-length"))
    coding = headers.get(b"transfer-encoding", b"").lower()
    keeps = b"close" not in tokens and (version == b"1.1" or b"keep-alive" in tokens) and plain == head
    framing, length, may_reuse = "close", 0, False
    if (is_tunnel and status in SUCCESSFUL_CONNECT) or status in NO_BODY:
        framing, may_reuse = "length", keeps and status != SWITCHING
    elif b"chunked" in coding:
        framing, may_reuse = "size", keeps and coding == b"chunked" and not lengths
    elif not coding and len(lengths) == 1 and (digits := lengths.pop()).isdigit() and len(digits) < MOST_DIGITS:
        framing, length, may_reuse = "length", int(digits), keeps
    return Head(status, _text(headers.get(b"retry-after")), _text(headers.get(b"location")), framing, length, may_reuse)


def read_whole(data: bytes) -> tuple[Response, bool] | None:
    """Return the response if the bytes are exactly one, and whether its connection may be reused.

    None leaves them to a ResponseParser, which says the same of such a response.
    """
    if (match := HEAD_END.search(data)) is None:
        return None
    body = data[match.end() :]
    head = read_head(data[: match.end()])
    if head is None or head.framing != "length" or head.length != len(body) or head.status in INTERIM:
        return None
    return Response(head.status, head.retry_after, body, head.location), head.may_reuse


class ResponseParser:
    """The state of one response: ``status`` is known first, then it ``is_complete``."""

    __slots__ = ("_body", "_head", "_is_tunnel", "_left", "_mode", "_pending", "is_complete", "may_reuse", "status")

    def __init__(self, *, is_tunnel: bool = False) -> None:
        self.status: int | None = None
        self.is_complete = False
        self.may_reuse = False
        self._is_tunnel = is_tunnel
        self._pending = bytearray()
        self._body = bytearray()
        self._head: Head | None = None
        self._mode = "head"
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises NotHttpError."""
        self._pending += data
        if self._mode == "head":
            self._read_head()
        if self._mode != "head" and not self.is_complete:
            self._read_body()

    def end(self) -> None:
        """Take the end of the connection. Raises NotHttpError if it came without a status line."""
        if self.status is None and self._pending:
            match = STATUS_LINE.match(bytes(self._pending).lstrip(b"\r\n"))
            if match is None:
                raise NotHttpError
            self.status = int(match[2])
        if self.status in INTERIM and self.status != SWITCHING:
            self.status = None
        self.may_reuse = False
        self.is_complete = True

    def response(self) -> Response:
        """Return what has arrived; the status must be known."""
        retry_after, location = (None, None) if self._head is None else (self._head.retry_after, self._head.location)
        return Response(self.status or 0, retry_after, bytes(self._body), location)

    def _read_head(self) -> None:
        while True:
            while self._pending.startswith((b"\r", b"\n")):
                del self._pending[:1]
            pending = self._pending
            if not pending.startswith(b"HTTP/"[: len(pending)]):
                raise NotHttpError
            match = STATUS_LINE.match(pending)
            if pending.find(b"\n", 0, LARGEST_BODY) < 0:
                if len(pending) >= LARGEST_BODY:
                    raise NotHttpError
                return
            if match is None:
                raise NotHttpError
            status = int(match[2])
            is_interim = status in INTERIM and status != SWITCHING
            self.status = None if is_interim else status
            end = HEAD_END.search(pending)
            if end is None:
                if len(pending) > LARGEST_HEAD:
                    self._give_up()
                return
            head = bytes(pending[: end.end()])
            del pending[: len(head)]
            if not is_interim and (read := read_head(head, is_tunnel=self._is_tunnel)) is not None:
                self._head = read
                self._mode, self._left, self.may_reuse = read.framing, read.length, read.may_reuse
                return

    def _read_body(self) -> None:
        if self._mode == "close":
            self._take(len(self._pending))
        elif self._mode == "length":
            self._take(self._left)
            self.is_complete = self.is_complete or not self._left
        else:
            while self._pending and not self.is_complete and self._read_chunk():
                pass
        if self.is_complete and self._pending:
            self.may_reuse = False  # more than was announced

    def _read_chunk(self) -> bool:
        """Read one part of a chunked body; return whether there may be another in what has arrived."""
        if self._mode == "data":
            self._take(self._left)
            if self._left:
                return False
            self._mode = "after"
        if self._mode == "trailer":
            return self._read_trailer()
        line, newline, _rest = self._pending.partition(b"\n")
        if not newline:
            self.is_complete = len(line) > LARGEST_HEAD
            return False
        del self._pending[: len(line) + 1]
        if self._mode == "after":
            self._mode = "size"
            return not line.strip() or self._give_up()
        match = CHUNK_SIZE.fullmatch(line)
        if match is None:
            return self._give_up()
        self._left = int(match[1], 16)
        self._mode = "data" if self._left else "trailer"
        return True

    def _read_trailer(self) -> bool:
        line, newline, _rest = self._pending.partition(b"\n")
        if not newline:
            self.is_complete = len(line) > LARGEST_HEAD
            return False
        del self._pending[: len(line) + 1]
        self.is_complete = not line.strip()
        return True

    def _give_up(self) -> bool:
        """End a response whose rest cannot be read: the verdict stands if there is one, the connection does not."""
        if self.status is None:
            raise NotHttpError
        self.is_complete, self.may_reuse = True, False
        return False

    def _take(self, count: int) -> None:
        if not self._pending:
            return
        part = self._pending[:count]
        del self._pending[:count]
        self._left -= len(part)
        self._body += part[: LARGEST_BODY - len(self._body)]
        if len(self._body) >= LARGEST_BODY and (self._left > 0 or self._mode != "length"):
            self._give_up()


def _items(value: bytes | None) -> set[bytes]:
    """Return the items of a comma-separated header, in lower case."""
    return {item for each in value.lower().split(b",") if (item := each.strip())} if value else set()


def _text(value: bytes | None) -> str | None:
    """Return a header's value as text, or None if it is not ASCII."""
    return value.decode() if value and value.isascii() else None
