"""The browser behind a request: its address, its scheme, and the origin of the request.

A reverse proxy is believed only if it connects from loopback.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

OWN_SITES = ("same-origin", "none")  # "none": typed or bookmarked; another site cannot make such a request


def address(request: Request) -> str:
    """Return the address of the browser, or of the proxy nearest to it."""
    peer = request.client.host if request.client is not None else ""
    forwarded = _from_proxy(request, "x-forwarded-for")
    return forwarded.rpartition(",")[2].strip() or peer


def is_secure(request: Request) -> bool:
    """Return whether the browser uses HTTPS."""
    return request.url.scheme == "https" or _from_proxy(request, "x-forwarded-proto").strip().lower() == "https"


def is_from_elsewhere(request: Request) -> bool:
    """Return whether a page of another origin made the request, by Sec-Fetch-Site, or else by Origin."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in OWN_SITES
    origin = request.headers.get("origin")
    if origin is None:
        return False  # no browser
    hosts = {request.headers.get("host", ""), _from_proxy(request, "x-forwarded-host").strip()} - {""}
    return origin.partition("://")[2] not in hosts  # not parsed: programs send anything


def _from_proxy(request: Request, name: str) -> str:
    """Return a header that a proxy sets; empty unless it connects from loopback."""
    peer = request.client.host if request.client is not None else ""
    try:
        trusted = ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return ""
    return request.headers.get(name, "") if trusted else ""
