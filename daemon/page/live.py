"""/live: tells open pages that something has changed, so that they fetch their content again.

While nobody listens, nothing runs. Otherwise one task looks at the database every second for everyone.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, TypeVar

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from daemon import errors
from daemon.page import sessions
from daemon.storage import sessions as stored_sessions
from daemon.views import change_mark

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import sqlalchemy as sa

    from daemon.control.changes import Changes
    from daemon.page.visit import Visit
    from daemon.storage.database import Database

T = TypeVar("T")

LOOK_SECONDS = 1.0
SHORTEST_SECONDS = 1.5  # between two signals, so that a storm costs little
SECONDS_PER_PAGE = 0.25  # each open page fetches its content again after a signal, so many of them wait longer
PING_SECONDS = 15.0  # keeps proxies from closing the connection, and finds closed ones
MOST_LISTENERS = 110  # fewer than the server's request limit, together with those that wait for actions


class Live:
    """Listeners, and the task that looks for changes on behalf of all of them."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes
        self._listeners: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None
        self._has_looked = asyncio.Event()  # so that every change after it is noticed
        self._process = secrets.token_hex(4)  # a page may ask another process for what this one has signalled
        self._number = 0
        self._ended: frozenset[str] | None = None  # sessions, at the last look; None while nobody looks
        self._ended_here: frozenset[str] = frozenset()  # since the last look

    def is_alive(self, session_id: str) -> bool:
        """Return whether the last look, about a second ago, saw that a session has not ended.

        Otherwise only the database knows. So what open pages fetch needs no transaction each.
        """
        return self._ended is not None and session_id not in self._ended | self._ended_here

    def end(self, session_id: str) -> None:
        """Note that a session has ended."""
        self._ended_here |= {session_id}

    @property
    def signal(self) -> str:
        """Return the name of the last signal. A page that fetches its content because of it sends it along."""
        return f"{self._process}-{self._number}"

    @property
    def is_full(self) -> bool:
        """Return whether no more listeners are accepted."""
        return len(self._listeners) >= MOST_LISTENERS or self._changes.stopping

    async def signals(self) -> AsyncGenerator[str, None]:
        """Yield a server-sent event for each change, with a comment now and then in between."""
        woken = asyncio.Event()
        restarts = self._changes.restarts
        self._listeners.add(woken)
        if self._looking is None or self._looking.done():
            self._has_looked = asyncio.Event()
            self._looking = asyncio.create_task(self._look(self._has_looked), name="page changes")
        try:
            await self._has_looked.wait()
            yield "retry: 2000\n: connected\n\n"
            while not self._ends(restarts):
                try:
                    async with asyncio.timeout(PING_SECONDS):
                        await woken.wait()
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                woken.clear()
                if not self._ends(restarts):
                    yield f"event: changed\ndata: {self.signal}\n\n"
        finally:
            self._listeners.discard(woken)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = self._ended = None

    def _ends(self, restarts: int) -> bool:
        """Return whether a listener that came after this many restarts is to connect again, or the daemon stops."""
        return self._changes.stopping or self._changes.restarts != restarts

    async def _look(self, has_looked: asyncio.Event) -> None:
        """Wake the listeners after each change, until cancelled or the daemon stops."""
        try:
            seen = await self._mark()
        finally:
            has_looked.set()
        signalled = float("-inf")
        while not self._changes.stopping:
            await self._changes.wait(LOOK_SECONDS)
            while (
                not self._changes.stopping and (left := signalled + pause(len(self._listeners)) - time.monotonic()) > 0
            ):
                await asyncio.sleep(min(left, LOOK_SECONDS))
                await self._look_for_ended_sessions()
            mark = await self._mark()
            if mark != seen:
                seen, signalled = mark, time.monotonic()
                self._number += 1
                self._wake()
        self._wake()

    def _wake(self) -> None:
        for woken in self._listeners:
            woken.set()

    async def _mark(self) -> object:
        """Return a value that differs after each change; None while the database does not respond."""
        mark = await self._read(change_mark.read)
        return None if mark is None else (self._changes.number, mark)

    async def _look_for_ended_sessions(self) -> None:
        await self._read(lambda _tx: None)

    async def _read(self, function: Callable[[sa.Connection], T]) -> T | None:
        """Return what the function reads, after a look at the sessions that have ended."""
        since = self._database.clock() - sessions.LONGEST_IDLE
        try:
            ended, value = await self._database.read(lambda tx: (stored_sessions.ended_since(tx, since), function(tx)))
        except errors.DatabaseError:
            self._ended = None
            return None
        self._ended, self._ended_here = ended | self._ended_here, self._ended_here - ended
        return value


def pause(pages: int) -> float:
    """Return the shortest time between two signals in seconds, with so many open pages."""
    return max(SHORTEST_SECONDS, pages * SECONDS_PER_PAGE)


async def listen(visit: Visit) -> Response:
    """Return a stream of server-sent events."""
    if visit.site.live.is_full:
        return PlainTextResponse("too many open pages", 503, {"Retry-After": "30"})
    headers = {"X-Accel-Buffering": "no"}  # nginx must not collect the events
    if visit.request.method == "HEAD":
        return Response(headers=headers, media_type="text/event-stream")
    return StreamingResponse(visit.site.live.signals(), media_type="text/event-stream", headers=headers)


ROUTES = (("GET", "/live", listen),)
