"""Egress rules: which addresses may be connected to. An IPv4 address embedded in an IPv6 address counts as well.

Tables of networks instead of the standard library's ``is_global`` and ``is_private``, which are wrong for NAT64, 6to4,
multicast and cloud metadata, and change between versions.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.settings import Egress

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Table: TypeAlias = tuple[tuple[str, tuple[Network, ...]], ...]


def _table(*rows: tuple[str, str]) -> Table:
    return tuple((kind, tuple(ip_network(each) for each in networks.split())) for kind, networks in rows)


# Never allowed, whatever the configuration says. The first matching row names the kind.
NEVER = _table(
    (
        "a cloud metadata address",
        """
        169.254.169.254 169.254.170.0/24 169.254.42.42 169.254.0.23 169.254.10.10 100.100.100.200 168.63.129.16
        192.0.0.192 fd00:ec2::/32 fd20:ce::254 fd00:c1::a9fe:a9fe fd00:42::42 fd00:a9fe:a9fe::1 fd00:100::100:200
        fe80::a9fe:a9fe
        """,
    ),
    ("a link-local address", "169.254.0.0/16 fe80::/10"),
    ("an unspecified address", "0.0.0.0/8 ::/128"),
    ("a multicast address", "224.0.0.0/4 ff00::/8"),
    ("the broadcast address", "255.255.255.255"),
    ("a reserved address", "192.0.0.0/24 192.88.99.0/24 240.0.0.0/4 2001:10::/28 2001:20::/28"),
)
# Not on the public internet: allowed unless the configuration says otherwise.
PRIVATE = _table(
    ("a loopback address", "127.0.0.0/8 ::1"),
    ("a private address", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10 64:ff9b:1::/48"),
    ("a carrier's shared address", "100.64.0.0/10"),
    (
        "an address for tests and documentation",
        "192.0.2.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 2001:2::/48 2001:db8::/32 3fff::/20",
    ),
)
GLOBAL = ip_network("2000::/3")
# IPv6 networks with an IPv4 address in the last 32 bits.
TRANSLATED = tuple(ip_network(each) for each in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
LOCAL_NAT64 = ip_network("64:ff9b:1::/48")
SIX_TO_FOUR = ip_network("2002::/16")
TEREDO = ip_network("2001::/32")
ISATAP = (0x00005EFE, 0x02005EFE)
LOOPBACK, UNSPECIFIED = IPv6Address("::1"), IPv6Address("::")


def refusal(text: str, rules: Egress) -> str | None:
    """Return why an address is refused, or None if it is permitted."""
    address = ip_address(text)
    for each in (address, *_inside(address)):
        through = "" if each == address else f"the way to {each}, "
        kind = _kind(each, NEVER) or _unassigned(each)
        if kind is not None:
            return f"{through}{kind} (always refused)"
        kind = _kind(each, PRIVATE)
        if kind is not None and not rules.private and not any(each in network for network in rules.allow):
            return f"{through}{kind} (egress.private is deny; add its network to egress.allow)"
    return None


def never(network: Network) -> str | None:
    """Return the kind of a network that no configuration can allow, or None."""
    for kind, refused in NEVER:
        for each in refused:
            if network.version == each.version and network.subnet_of(each):  # type: ignore[arg-type]
                return kind
    return None


def _kind(address: Address, table: Table) -> str | None:
    return next((kind for kind, networks in table if any(address in network for network in networks)), None)


def _unassigned(address: Address) -> str | None:
    """Return the kind of an IPv6 address that is neither global, nor private, nor an embedded IPv4 address."""
    if isinstance(address, IPv4Address) or address in GLOBAL or any(address in each for each in TRANSLATED):
        return None
    return None if _kind(address, PRIVATE) else "a reserved address"


def _inside(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses to which packets for this IPv6 address may go."""
    if isinstance(address, IPv4Address) or address in (LOOPBACK, UNSPECIFIED):
        return
    bits = int(address)
    last = bits & 0xFFFFFFFF
    if any(address in each for each in TRANSLATED) or (bits >> 32) & 0xFFFFFFFF in ISATAP:
        yield IPv4Address(last)
    if address in LOCAL_NAT64:  # in the last 32 bits, or after 48 bits around the skipped octet
        yield from (IPv4Address(each) for each in (last, bits >> 48 & 0xFFFF0000 | bits >> 40 & 0xFFFF) if each >> 24)
    if address in SIX_TO_FOUR:
        yield IPv4Address(bits >> 80 & 0xFFFFFFFF)
    if address in TEREDO:
        yield IPv4Address(bits >> 64 & 0xFFFFFFFF)
        yield IPv4Address(last ^ 0xFFFFFFFF)
