"""Where a host is: the addresses that its name has by now, as far as they are permitted.

A name is asked for in a thread of its own, by whoever needs it first: a slow answer holds up neither
the loop nor another target, and no end of an attempt or of the daemon waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

from pyreqwest.http import Url

from daemon import errors
from daemon.outbound import ip_policy
from daemon.settings import Egress

if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup: TypeAlias = Callable[[str, int], tuple[str, ...]]

FRESH = 30.0  # seconds for which an answer is not asked for again
KEPT = 300.0  # seconds for which it still serves though asking does not work
PATIENCE = 1.0  # seconds to wait for a new answer where an old one still serves
PAUSE = 5.0  # seconds between two questions, whatever fails
EVERYWHERE = Egress()
FAMILIES = (socket.AF_INET, socket.AF_INET6)


def look_up(name: str, port: int) -> tuple[str, ...]:
    """The addresses of a name, in the system's order. Raises OSError if there are none."""
    found = socket.getaddrinfo(name.encode("ascii"), port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for family, _, _, _, address in found if family in FAMILIES))


class Host:
    """A name or an address, as the HTTP client reads it, and the rules for it."""

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
        self._refused: str | None = None
        self._is_news = False
        self._asking: asyncio.Future[tuple[str, ...]] | None = None
        self._asked_at = self._found_at = self._due = float("-inf")
        self.is_address = _is_address(name)
        if self.is_address:
            self._due = float("inf")
            self._judge((name.strip("[]"),))

    def is_unchanged(self) -> bool:
        """Whether ``permitted`` and ``check`` would say at once what they said the last time."""
        return not self._is_news and self._clock() < self._due

    @property
    def is_permitted(self) -> bool:
        """Whether an address was found that may be connected to."""
        return bool(self._permitted)

    async def permitted(self, seconds: float) -> tuple[str, ...]:
        """The addresses that may be connected to, at least one. Raises NoAnswer if ``seconds`` do not find any."""
        if self._clock() >= self._due:
            await self._ask(seconds)
        self._is_news = False
        if self._problem is not None:
            raise errors.NoAnswer(self._problem)
        return self._permitted

    async def check(self, seconds: float) -> None:
        """Raise NoAnswer if any of its addresses is refused. A name that is unknown here is left to the proxy."""
        if self._clock() >= self._due:
            with contextlib.suppress(errors.NoAnswer):
                await self._ask(min(seconds, PATIENCE))
        self._is_news = False
        if self._refused is not None:
            raise errors.NoAnswer(self._refused)

    def doubt(self) -> None:
        """A connection failed, so that the name may have moved: ask again soon."""
        if not self.is_address:
            self._due = min(self._due, self._asked_at + PAUSE)

    async def _ask(self, seconds: float) -> None:
        if self._asking is None:
            self._asked_at = self._clock()
            self._asking = _in_thread(self._lookup, self.name, self.port)
            self._asking.add_done_callback(self._told)
        serves = bool(self._permitted) and self._clock() - self._found_at < KEPT
        asking = self._asking
        await asyncio.wait((asking,), timeout=min(seconds, PATIENCE) if serves else seconds)
        if asking.done():
            return
        if not serves:
            message = f"{self.name} was not resolved in time"
            raise errors.NoAnswer(message)
        self._due = self._clock() + FRESH

    def _told(self, asked: asyncio.Future[tuple[str, ...]]) -> None:
        now = self._clock()
        self._asking = None
        self._is_news = True  # whoever asked may not wait for it any more
        if (error := asked.exception()) is None:
            self._found_at, self._due = now, now + FRESH
            self._judge(asked.result())
        elif self._permitted and now - self._found_at < KEPT:
            self._due = now + FRESH
        else:
            self._permitted, self._refused, self._due = (), None, now + PAUSE
            self._problem = f"{self.name} cannot be resolved: {getattr(error, 'strerror', None) or 'it is no name'}"

    def _judge(self, found: tuple[str, ...]) -> None:
        reasons = {each: ip_policy.refusal(each, self._rules) for each in found}
        self._permitted = tuple(each for each, reason in reasons.items() if reason is None)
        refused = [f"{each}, {reason}" for each, reason in reasons.items() if reason is not None]
        where = "the host is" if self.is_address else f"{self.name} resolves to"
        self._refused = f"refused: {where} {refused[0]}" if refused else None
        self._problem = None if self._permitted else self._refused or f"{self.name} has no address"


def refusal(url: str, rules: Egress = EVERYWHERE) -> str | None:
    """Why nothing can connect to a URL, as far as that is known without asking for a name."""
    try:
        name = Url(url).host_str or ""
    except ValueError:
        return "cannot be understood: its host is no name and no address"
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

    def settle(found: tuple[str, ...] | Exception) -> None:
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)

    def work() -> None:
        found: tuple[str, ...] | Exception
        try:
            found = function(name, port)
        except (OSError, ValueError) as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=work, name=f"resolving {name}", daemon=True).start()
    return future
