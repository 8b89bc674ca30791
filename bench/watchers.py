"""Open pages: one separate process that waits for signals on many connections and fetches a fragment after each."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvloop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from urllib.parse import SplitResult

LEAST_SECONDS = 1.0  # between two fetches, as in page.js
ALWAYS_SECONDS = 30.0  # also without a signal


class Watchers:
    """The process with the open pages. ``fetches`` is how many fragments they had fetched when it ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._output = process.stdout
        self.fetches = 0

    async def load(self) -> None:
        """Wait until each page was loaded once, which the templates are compiled for."""
        await asyncio.to_thread(self._output.readline)


@contextmanager
def watching(address: str, cookie: str, paths: Sequence[str]) -> Iterator[Watchers]:
    """Open a page for each path; inside the context they load and then listen."""
    command = [sys.executable, "-m", "bench.watchers", address, cookie, json.dumps(list(paths))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        watchers = Watchers(process)
        assert process.stdin is not None
        assert process.stdout is not None
        yield watchers
        process.stdin.close()
        watchers.fetches = int(process.stdout.readline() or 0)


class Page:
    """One open page, like page.js: at most one fetch a second."""

    def __init__(self, address: SplitResult, cookie: str, path: str) -> None:
        self._address, self._cookie, self._path = address, cookie, path
        self._wanted = asyncio.Event()
        self._signal = "none"
        self.fetches = 0

    async def load(self) -> None:
        """Load the page."""
        reader, writer = await self._ask(self._path, "connection: close")
        text = await reader.read()
        assert text.startswith(b"HTTP/1.1 200"), text[:200]
        writer.close()

    async def stay(self) -> None:
        """Listen and fetch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._fetch())

    async def _ask(self, path: str, header: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        head = f"GET {path} HTTP/1.1\r\nhost: {self._address.netloc}\r\ncookie: {self._cookie}\r\n{header}\r\n\r\n"
        writer.write(head.encode())
        return reader, writer

    async def _listen(self) -> None:
        reader, _ = await self._ask("/live", "accept: text/event-stream")
        async for line in reader:
            if line.startswith(b"data: "):
                self._signal = line.removeprefix(b"data: ").decode().strip()
                self._wanted.set()

    async def _fetch(self) -> None:
        while True:
            started = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(ALWAYS_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            reader, writer = await self._ask(self._path, f"x-fragment: {self._signal}\r\nconnection: close")
            text = await reader.read()
            assert text.startswith(b"HTTP/1.1 200"), text[:200]
            writer.close()
            self.fetches += 1
            await asyncio.sleep(max(0.0, started + LEAST_SECONDS - time.monotonic()))


async def _watch(address: str, cookie: str, paths: Sequence[str]) -> None:
    pages = [Page(urlsplit(address), cookie, path) for path in paths]
    for page in pages:
        await page.load()
    print("loaded", flush=True)
    tasks = [asyncio.create_task(page.stay()) for page in pages]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(sum(page.fetches for page in pages), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_watch(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
