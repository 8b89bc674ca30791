"""The names that requests may be for: a page in a browser cannot reach the server under a name of its own."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from daemon.api.refusals import Refusals
    from daemon.control import Current

DETAIL = "this server does not accept requests for this host name (add the name to api.hosts)"


class Hosts:
    """ASGI middleware that answers only requests for the server's own names, against DNS rebinding.

    These are loopback names, the address that the connection came to, and ``api.hosts``; without those, every name.
    """

    def __init__(self, app: ASGIApp, current: Current, refusals: Refusals) -> None:
        self._app = app
        self._refusals = refusals
        self._current = current

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        api = self._current.settings.api
        if scope["type"] == "http" and api is not None and api.hosts is not None:
            host = Headers(scope=scope).get("host")
            if host is not None and not _is_own(host, api.hosts, scope):
                response = self._refusals.response(scope, HTTPStatus.MISDIRECTED_REQUEST, DETAIL)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_own(host: str, names: Iterable[str], scope: Scope) -> bool:
    name = _without_port(host).lower().rstrip(".")
    if name in map(str.lower, names) or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    server = scope.get("server")
    return address.is_loopback or (server is not None and name == server[0].lower())


def _without_port(host: str) -> str:
    """Return the name in a Host header, or the address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.rpartition(":")
    return name if name and port.isdecimal() else host
