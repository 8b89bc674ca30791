"""The way to a target, as far as TLS goes: TCP, the proxy's tunnel, the handshake. Blocking; sends no request.

Errors name the check that failed. They contain hosts and ports, and nothing else of a URL.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from daemon import errors
from daemon.outbound import tls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from urllib.parse import SplitResult

    from daemon.settings import Tls

LISTEN_SECONDS = 0.25  # for an alert about our certificate: in TLS 1.3 the handshake is over before it is checked
LARGEST_HEAD = 16 * 1024
HOST_MISMATCH = 62  # OpenSSL's verify codes
EXPIRED = 10
IP_MISMATCH = 64
CHECK_ROUTE = "check the firewall, and that the receiver is running"
CHECK_CERTIFICATE = (
    "check that the port speaks TLS, and whether the receiver requires a certificate (tls.cert, tls.key)"
)
CHECK_PROXY = "check proxy, and the firewall"
REMEDIES = {
    EXPIRED: "have the receiver's certificate renewed",
    HOST_MISMATCH: "check the host in url: it must be one of the certificate's names",
    IP_MISMATCH: "check the host in url: it must be one of the certificate's names",
}
UNTRUSTED = "set tls.ca to the file of the authority that issued it, or have the receiver send the whole chain"


class ProbeError(Exception):
    """A step that failed: the check's name, what was found, the remedy."""

    def __init__(self, check: str, found: str, remedy: str) -> None:
        super().__init__(found)
        self.check = check
        self.found = found
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Route:
    """A target's host and port, and the way to it. Each step may take ``seconds``."""

    host: str
    port: int
    is_tls: bool
    tls: Tls | None
    proxy: SplitResult | None
    proxy_port: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reached:
    """The result of a probe: the address, whether through a tunnel, and the end of the certificate, if any."""

    address: str
    has_tunnel: bool
    certificate_end: datetime | None


def reach(route: Route, addresses: Sequence[str]) -> Reached:
    """Connect to the first address that accepts, and shake hands. Raises ProbeError."""
    connection, address = _connect(route, addresses)
    with connection:
        # The way to a target without TLS is a request in full, and that to an https proxy begins with other TLS.
        has_tunnel = route.proxy is not None and route.proxy.scheme == "http" and route.is_tls
        if has_tunnel:
            _open_tunnel(connection, route)
        is_visible = route.is_tls and (route.proxy is None or has_tunnel)
        return Reached(address, has_tunnel, _shake_hands(connection, route) if is_visible else None)


def _connect(route: Route, addresses: Sequence[str]) -> tuple[socket.socket, str]:
    port = route.port if route.proxy is None else route.proxy_port
    failures = []
    for address in addresses:
        try:
            return socket.create_connection((address, port), route.seconds), address
        except OSError as error:
            failures.append(f"{address} port {port}: {_reason(error)}")
    if route.proxy is None:
        raise ProbeError("target.connection", "; ".join(failures), CHECK_ROUTE)
    raise ProbeError("target.proxy", "; ".join(failures), CHECK_PROXY)


def _open_tunnel(connection: socket.socket, route: Route) -> None:
    there = f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}"
    lines = [f"CONNECT {there} HTTP/1.1", f"Host: {there}"]
    if route.proxy is not None and route.proxy.username:
        pair = f"{unquote(route.proxy.username)}:{unquote(route.proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}")
    try:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head and len(head) < LARGEST_HEAD:
            part = connection.recv(1)  # not more: what follows the head belongs to TLS
            if not part:
                break
            head += part
    except OSError as error:
        raise ProbeError("target.proxy", f"no response to CONNECT: {_reason(error)}", CHECK_PROXY) from None
    status = head.split(b" ")[1:2]
    code = (
        status[0].decode("ascii", "replace")[:3]
        if head.startswith(b"HTTP/") and status
        else "something other than HTTP"
    )
    if code == "407":
        raise ProbeError("target.proxy", "the proxy answered 407", "check the user and password in proxy")
    if not code.startswith("2"):
        raise ProbeError(
            "target.proxy", f"the proxy answered {code} to CONNECT", "check the proxy's rules for the target"
        )


def _shake_hands(connection: socket.socket, route: Route) -> datetime | None:
    """Return when the certificate ends."""
    try:
        with tls.context(route.tls).wrap_socket(connection, server_hostname=route.host) as secure:
            end = secure.getpeercert()
            _listen(secure)
    except errors.NoAnswer:
        raise ProbeError("target.tls", "this machine has no CA certificates", "install ca-certificates") from None
    except ssl.SSLCertVerificationError as error:
        remedy = REMEDIES.get(error.verify_code, UNTRUSTED)
        raise ProbeError("target.tls", f"certificate rejected: {error.verify_message}", remedy) from None
    except ssl.SSLError as error:
        found = f"TLS failed: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
        raise ProbeError("target.tls", found, CHECK_CERTIFICATE) from None
    except OSError as error:
        raise ProbeError("target.tls", f"TLS failed: {_reason(error)}", CHECK_CERTIFICATE) from None
    text = (end or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC) if isinstance(text, str) else None


def _listen(secure: ssl.SSLSocket) -> None:
    """Wait for a short time for the receiver to reject our certificate. Raises SSLError or ProbeError if it does."""
    secure.settimeout(LISTEN_SECONDS)
    with contextlib.suppress(TimeoutError):
        if not secure.recv(1):
            raise ProbeError(
                "target.tls", "the receiver closed the connection right after the handshake", CHECK_CERTIFICATE
            )


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no response in time"
    return (error.strerror or type(error).__name__).lower()
