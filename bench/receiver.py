"""The receivers of all requests: one separate process, with one port for each target.

An asyncio.Protocol that parses just enough of HTTP to find the end of a request, and stores
only a count, so that the receivers are not the bottleneck; ``Receivers.effort`` shows that.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import psutil
import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
LENGTH = b"content-length:"


class Hook(asyncio.Protocol):
    """One connection: responds to every request with an empty 200."""

    def __init__(self) -> None:
        self._rest = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Respond to every complete request."""
        assert self._transport is not None
        self._rest += data
        while end := _end(self._rest):
            self._rest = self._rest[end:]
            self._transport.write(ANSWER)


def _end(data: bytes) -> int:
    """Return where the first request ends; 0 if it is incomplete."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    start = data[:head].lower().find(LENGTH)
    length = 0 if start < 0 else int(data[start + len(LENGTH) : head].split(b"\r\n", 1)[0])  # a stranger's has none
    end = head + 4 + length
    return end if len(data) >= end else 0


class Receivers:
    """The process with the receivers; ``urls`` has one for each target."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.urls = [f"http://127.0.0.1:{port}/hook" for port in json.loads(process.stdout.readline())]
        self._process = psutil.Process(process.pid)

    def effort(self) -> float:
        """Return the receivers' processor time so far, in seconds."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def receivers(count: int) -> Iterator[Receivers]:
    """Start the receivers; they stop when their standard input is closed."""
    command = [sys.executable, "-m", "bench.receiver", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Receivers(process)


async def serve(count: int, protocol: Callable[[], Hook] = Hook) -> None:
    """Listen on ``count`` ports, and print them, until standard input is closed."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(protocol, "127.0.0.1", 0, backlog=1000) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
