"""The way to the host of a URL: a client for one address that was checked, and for nothing else.

The HTTP client never resolves a name by itself. It is made anew when the name leads elsewhere,
so that the connections that it keeps open are to a checked address, too. Redirects are not followed,
proxies of the environment are not used, answers are not decompressed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyreqwest.client import ClientBuilder
from pyreqwest.http import Url
from pyreqwest.proxy import ProxyBuilder

import daemon
from daemon import hosts

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from pydantic import SecretStr
    from pyreqwest.client import Client

    from daemon.model import Egress

MOST_TRIED = 3  # addresses that share the time of one attempt


@dataclass
class Line:
    """A client for one address. ``busy`` counts its requests, so that it is closed behind the last of them."""

    client: Client
    address: str
    busy: int = 0
    is_old: bool = False

    def taken(self) -> Line:
        """The line, for one more request."""
        self.busy += 1
        return self

    async def release(self) -> None:
        """A request has ended."""
        self.busy -= 1
        if self.is_old and not self.busy:
            await self.client.close()

    async def leave(self) -> None:
        """Take no more requests."""
        self.is_old = True
        if not self.busy:
            await self.client.close()


class Route:
    """The way to the host of ``url``, straight or through a proxy.

    ``timeout`` is the time of a whole attempt; ``furnish`` gives clients what they need besides.
    """

    def __init__(
        self,
        url: Url,
        rules: Egress,
        timeout: timedelta,
        furnish: Callable[[ClientBuilder], ClientBuilder] = lambda builder: builder,
        proxy: SecretStr | None = None,
        *,
        lookup: hosts.Lookup = hosts.look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        target = _host(url, rules, lookup, clock)
        self._proxy = None if proxy is None else Url(proxy.get_secret_value())
        self._host = target if self._proxy is None else _host(self._proxy, hosts.EVERYWHERE, lookup, clock)
        self._behind_proxy = None if proxy is None else target
        self._furnish = furnish
        self._timeout = timeout
        self._line: Line | None = None
        self._is_in_doubt = False
        self._failed: set[str] = set()

    def ready(self) -> Line | None:
        """The line, taken for a request, if nothing has to be found out for it."""
        if self._line is None or self._is_in_doubt or not self._host.is_known():
            return None
        if self._behind_proxy is not None and not self._behind_proxy.is_known():
            return None
        return self._line.taken()

    async def line(self, seconds: float) -> Line:
        """The line, taken for a request. Raises NoWay if there is none, or if none is found within ``seconds``."""
        if self._behind_proxy is not None:
            await self._behind_proxy.check(seconds)
        found = await self._host.permitted(seconds)
        if self._line is not None and self._line.address in found and not self._is_in_doubt:
            return self._line.taken()
        self._is_in_doubt = False
        if self._failed.issuperset(found):
            self._failed.clear()
        return await self._go_to(next(each for each in found if each not in self._failed), len(found))

    def failed(self, line: Line) -> None:
        """No connection could be made: the next line goes to another address, if there is one."""
        self._failed.add(line.address)
        self._is_in_doubt = True
        self._host.doubt()

    async def close(self) -> None:
        """Close all connections."""
        if self._line is not None:
            await self._line.client.close()

    async def _go_to(self, address: str, choice: int) -> Line:
        old = self._line
        if old is not None and old.address == address:
            return old.taken()
        builder = self._builder().connect_timeout(self._timeout / min(choice, MOST_TRIED))
        if not self._host.is_address:
            builder = builder.resolve(self._host.name, address, self._host.port)
        self._line = line = Line(builder.build(), address).taken()
        if old is not None:
            await old.leave()
        return line

    def _builder(self) -> ClientBuilder:
        builder = (
            ClientBuilder()
            .user_agent(f"pagerelay/{daemon.__version__}")
            .follow_redirects(enable=False)
            .no_proxy()
            .gzip(enable=False)
            .brotli(enable=False)
            .deflate(enable=False)
            .zstd(enable=False)
            .http1_only()
        )
        if self._proxy is not None:
            builder = builder.proxy(ProxyBuilder.all(self._proxy))
        return self._furnish(builder)


def _host(url: Url, rules: Egress, lookup: hosts.Lookup, clock: Callable[[], float]) -> hosts.Host:
    return hosts.Host(url.host_str or "", url.port_or_known_default or 0, rules, lookup, clock)
