"""Explanations of calls without a response, with what to check. Pure; without library text, which may hold the key."""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK_ROUTE = "check the firewall, and set proxy if this machine reaches the internet through one"


def reason(host: str, error: httpx.HTTPError) -> str:
    """Return one sentence about a failed call to ``host``."""
    if isinstance(error, httpx.ProxyError):
        status = re.match(r"[1-5][0-9]{2}\b", str(error))
        answer = f" with {status[0]}" if status else ""
        return f"the proxy refused the call to {host}{answer} (check the proxy's rules, and user and password in proxy)"
    if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"the connection to {host} broke during the call ({type(error).__name__})"
    for cause in _causes(error):
        if words := _words(host, cause):
            return words
    if isinstance(error, httpx.ConnectTimeout):
        return f"{host} did not accept a connection in time ({CHECK_ROUTE})"
    return f"{host} could not be reached ({CHECK_ROUTE})"


def _words(host: str, cause: BaseException) -> str | None:
    match cause:
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate of {host} is not trusted: {cause.verify_message} "
                "(does a proxy inspect TLS? then add its CA to the system's: update-ca-certificates)"
            )
        case ssl.SSLError():
            return f"TLS with {host} failed: {cause.reason or 'no reason given'} (is it a server that speaks TLS?)"
        case socket.gaierror():
            name = host.partition(":")[0]
            return f"the name {name} cannot be resolved (check DNS, and proxy if names are resolved there)"
        case ConnectionRefusedError():
            return f"{host} refused the connection ({CHECK_ROUTE})"
        case OSError(errno=int()) if cause.strerror and not isinstance(cause, TimeoutError):
            return f"the connection to {host} failed: {cause.strerror} ({CHECK_ROUTE})"
        case _:
            return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what led to an error, the deepest cause first."""
    for inner in (error.__cause__, error.__context__):
        if inner is not None:
            yield from _causes(inner)
            break
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    yield error
