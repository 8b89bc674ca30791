"""Reading the URL of a target once, for the check of its address and for the request alike.

Hosts are read as browsers do: percent-decoded, in ASCII, and an IPv4 address in any spelling is that address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import SplitResult, quote, unquote, urlsplit

PORTS = {"http": 80, "https": 443}
NAME = re.compile(r"[a-z0-9_-]+(\.+[a-z0-9_-]+)*\.?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
IN_PATH = "/%:@!$&'()*+,;=-._~|[]^"
OCTETS = 4


@dataclass(frozen=True, slots=True)
class Url:
    """A URL: ``host`` in lower case, an IPv6 address in brackets; ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str


def parse(url: str) -> Url:
    """Return the parts of a URL. Raises ValueError if its host is neither a name nor an address."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host, default = _host(parts), PORTS.get(scheme, 0)
    port = parts.port or default
    target = quote(parts.path or "/", safe=IN_PATH) + (
        f"?{quote(parts.query, safe=IN_PATH + '?`{}')}" * bool(parts.query)
    )
    return Url(scheme, host, port, host if port == default else f"{host}:{port}", target)


def _host(parts: SplitResult) -> str:
    name = parts.hostname or ""
    if "[" in parts.netloc or "]" in parts.netloc or ":" in name:
        return _ipv6(name)
    name = unquote(name, errors="strict").lower()
    if not name.isascii():
        import idna  # noqa: PLC0415 - few hosts need its tables, which are large

        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        name = mapped if mapped.isascii() else idna.encode(mapped).decode()
    if not NAME.fullmatch(name):
        raise ValueError("neither a name nor an address")
    labels = name.removesuffix(".").split(".")
    return _ipv4(labels) if NUMBER.fullmatch(labels[-1]) else name


def _ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("an address with a zone")
    return f"[{IPv6Address(text)}]"


def _ipv4(labels: list[str]) -> str:
    """Return the address of one to four numbers, each decimal, octal or hexadecimal; the last fills the rest."""
    if len(labels) > OCTETS or not all(NUMBER.fullmatch(each) for each in labels):
        raise AddressValueError("invalid IPv4 address")
    *first, last = (_number(each) for each in labels)
    if any(each > 255 for each in first) or last >= 256 ** (OCTETS - len(first)):  # noqa: PLR2004 - octets
        raise AddressValueError("invalid IPv4 address")
    return str(IPv4Address(sum(each << 8 * (3 - place) for place, each in enumerate(first)) + last))


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)
