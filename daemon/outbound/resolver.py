"""Resolving a host to its permitted addresses.

A name is resolved in its own thread, on behalf of whoever needs it first. A slow resolver delays neither the event loop
nor another target, and neither a timed-out attempt nor the daemon's shutdown waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

from daemon import errors
from daemon.outbound import ip_policy, urls
from daemon.settings import Egress

if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup: TypeAlias = Callable[[str, int], tuple[str, ...]]

FRESH = 30.0  # seconds before a name is resolved again
STALE = 300.0  # seconds for which an old result is used while resolving fails
PATIENCE = 1.0  # seconds to wait for a new result while an old one can be used
PAUSE = 5.0  # seconds between two queries after a failure
ANYWHERE = Egress()
RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})  # whose lack is not a target's fault
FAMILIES = (socket.AF_INET, socket.AF_INET6)


def look_up(name: str, port: int) -> tuple[str, ...]:
    """Return the addresses of a name in the system's order. Raises OSError if there are none."""
    try:
        results = socket.getaddrinfo(name.encode("ascii"), port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        socket.socket().close()  # without a free descriptor it says that the name is unknown; this says what is true
        raise
    return tuple(dict.fromkeys(str(address[0]) for family, _, _, _, address in results if family in FAMILIES))


class Host:
    """A host name or address, as the HTTP client reads it, and the egress rules for it."""

    def __init__(
        self,
        name: str,
        port: int,
        rules: Egress,
        lookup: Lookup = look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.port = port
        self._rules = rules
        self._lookup = lookup
        self._clock = clock
        self._permitted: tuple[str, ...] = ()
        self._problem: str | None = None
        self._lacks = False  # descriptors to resolve with
        self._refused: str | None = None
        self._query: asyncio.Future[tuple[str, ...]] | None = None
        self._queried_at = self._resolved_at = self._due = float("-inf")
        self.is_address = _is_address(name)
        if self.is_address:
            self._due = float("inf")
            self._judge((name.strip("[]"),))

    def fresh(self) -> tuple[str, ...]:
        """Return the permitted addresses if they were resolved lately; else nothing."""
        return () if self._problem is not None or self._clock() >= self._due else self._permitted

    async def permitted(self, seconds: float) -> tuple[str, ...]:
        """Return the permitted addresses, at least one. Raises NoAnswer if there are none within ``seconds``."""
        if self._clock() >= self._due:
            await self._resolve(seconds)
        if self._problem is not None:
            raise (errors.OutOfResources if self._lacks else errors.NoAnswer)(self._problem)
        return self._permitted

    async def check(self, seconds: float) -> None:
        """Raise NoAnswer if any address is refused. A name that cannot be resolved here is left to the proxy."""
        if self._clock() >= self._due:
            with contextlib.suppress(errors.NoAnswer):
                await self._resolve(min(seconds, PATIENCE))
        if self._refused is not None:
            raise errors.NoAnswer(self._refused)

    def doubt(self) -> None:
        """Resolve again soon: a connection failed, so the name may have moved."""
        if not self.is_address:
            self._due = min(self._due, self._queried_at + PAUSE)

    async def _resolve(self, seconds: float) -> None:
        if self._query is None:
            self._queried_at = self._clock()
            self._query = _in_thread(self._lookup, self.name, self.port)
            self._query.add_done_callback(self._on_resolved)
        is_usable = bool(self._permitted) and self._clock() - self._resolved_at < STALE
        query = self._query
        await asyncio.wait((query,), timeout=min(seconds, PATIENCE) if is_usable else seconds)
        if query.done():
            return
        if not is_usable:
            message = f"{self.name} was not resolved in time"
            raise errors.NoAnswer(message)
        self._due = self._clock() + FRESH

    def _on_resolved(self, query: asyncio.Future[tuple[str, ...]]) -> None:
        now = self._clock()
        self._query = None
        if (error := query.exception()) is None:
            self._resolved_at, self._due = now, now + FRESH
            self._judge(query.result())
        elif self._permitted and now - self._resolved_at < STALE:
            self._due = now + FRESH
        else:
            self._permitted, self._refused, self._due = (), None, now + PAUSE
            self._problem = f"{self.name} cannot be resolved: {getattr(error, 'strerror', None) or 'invalid name'}"
            self._lacks = isinstance(error, OSError) and error.errno in RESOURCES

    def _judge(self, addresses: tuple[str, ...]) -> None:
        reasons = {each: ip_policy.refusal(each, self._rules) for each in addresses}
        self._permitted = tuple(each for each, reason in reasons.items() if reason is None)
        refused = [f"{each}, {reason}" for each, reason in reasons.items() if reason is not None]
        where = "the host is" if self.is_address else f"{self.name} resolves to"
        self._refused = f"refused: {where} {refused[0]}" if refused else None
        self._problem = None if self._permitted else self._refused or f"{self.name} has no address"
        self._lacks = False


def refusal(url: str, rules: Egress = ANYWHERE) -> str | None:
    """Return why a URL can never be connected to, as far as that is known without resolving its name."""
    try:
        name = urls.parse(url).host
    except ValueError:
        return "has an invalid host: neither a name nor an address"
    reason = ip_policy.refusal(name.strip("[]"), rules) if _is_address(name) else None
    return None if reason is None else f"its host is {reason}"


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _in_thread(function: Lookup, name: str, port: int) -> asyncio.Future[tuple[str, ...]]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(result: tuple[str, ...] | Exception) -> None:
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    def work() -> None:
        result: tuple[str, ...] | Exception
        try:
            result = function(name, port)
        except (OSError, ValueError) as error:
            result = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=work, name=f"resolving {name}", daemon=True).start()
    return future
