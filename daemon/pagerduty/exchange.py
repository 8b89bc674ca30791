"""One HTTP request and its response, bounded in time and size. Knows no permits, keys or resources."""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from typing import TYPE_CHECKING

import httpx

import daemon
from daemon import errors
from daemon.pagerduty import unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
LARGEST_BODY = 32 * 1024 * 1024
NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


def client(
    url: str, proxy: SecretStr | None, transport: httpx.AsyncBaseTransport | None, headers: dict[str, str]
) -> httpx.AsyncClient:
    """Return an HTTP client for one host. It follows no redirects and reads no environment variables."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"Content-Type": "application/json", "User-Agent": f"pagerelay/{daemon.__version__}"} | headers,
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
        proxy=None if proxy is None else proxy.get_secret_value(),
        verify=_tls(),
        transport=transport,
    )


async def send(http: httpx.AsyncClient, request: httpx.Request, seconds: float) -> tuple[int, Mapping[str, str], bytes]:
    """Return the status, the headers and the body of the response.

    Raises Unreachable if no connection was made, PageTooLarge if the response takes too long or is too large, and
    Temporary if the connection broke.
    """
    host, path = request.url.netloc.decode("ascii"), request.url.path
    try:
        async with asyncio.timeout(seconds):
            response = await http.send(request, stream=True)
            try:
                return response.status_code, response.headers, await _bounded(response, f"{host} answered {path}")
            finally:
                await response.aclose()
    except TimeoutError:
        message = f"{host} did not respond within {seconds:g} s"
        raise errors.PageTooLarge(message) from None
    except httpx.HTTPError as error:
        kind = errors.Unreachable if isinstance(error, NOT_CONNECTED) else errors.Temporary
        raise kind(unreachable.reason(host, error)) from None


async def _bounded(response: httpx.Response, what: str) -> bytes:
    """Return the body of a response. Raises PageTooLarge if it is too large."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > LARGEST_BODY:
            message = f"{what} with more than {LARGEST_BODY} bytes"
            raise errors.PageTooLarge(message, status=response.status_code)
    return b"".join(parts)


@cache
def _tls() -> ssl.SSLContext:
    """Return one context for all connections: creating one takes tens of milliseconds."""
    return ssl.create_default_context()
