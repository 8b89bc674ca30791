"""The addresses that may be connected to, according to the tables."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import hypothesis.strategies as st
import pytest
from hypothesis import given

from daemon.outbound import ip_policy
from daemon.settings import Egress

DENY = Egress(private=False)
NEVER = {
    "a cloud metadata address": [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fd00:100::100:200",
        "fe80::a9fe:a9fe",
        "fe80::a9fe:a9fe%eth0",
    ],
    "a link-local address": ["169.254.0.1", "169.254.255.255", "fe80::1", "fe80::1%1", "febf:ffff::1"],
    "an unspecified address": ["0.0.0.0", "0.1.2.3", "::"],
    "a multicast address": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "the broadcast address": ["255.255.255.255"],
    "a reserved address": ["240.0.0.1", "192.0.0.8", "192.88.99.1", "100::1", "5f00::1", "4000::1", "e000::1"],
}
PRIVATE = {
    "a loopback address": ["127.0.0.1", "127.255.255.254", "::1"],
    "a private address": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1"],
    "a carrier's shared address": ["100.64.0.1", "100.127.255.255"],
    "an address for tests and documentation": ["192.0.2.1", "198.18.0.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
}
PUBLIC = ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
COVERS = {  # how IPv6 addresses carry an IPv4 one
    "mapped": "::ffff:{0}",
    "compatible": "::{0}",
    "translated": "::ffff:0:{0}",
    "NAT64": "64:ff9b::{0}",
    "6to4": "2002:{1:x}:{2:x}::1",
    "Teredo's server": "2001:0:{1:x}:{2:x}::f7f7:f7f7",
    "Teredo's client": "2001:0:808:808::{3:x}:{4:x}",
    "ISATAP": "2606:4700::5efe:{0}",
}


def cover(pattern: str, inside: str) -> str:
    high, low = divmod(int(IPv4Address(inside)), 1 << 16)
    return pattern.format(inside, high, low, high ^ 0xFFFF, low ^ 0xFFFF)


@pytest.mark.parametrize("kind", NEVER)
def test_some_addresses_are_always_refused(kind: str) -> None:
    everything = Egress(private=False, allow=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    for rules in (Egress(), DENY, everything):
        assert {ip_policy.refusal(each, rules) for each in NEVER[kind]} == {f"{kind} (always refused)"}


@pytest.mark.parametrize("kind", PRIVATE)
def test_private_addresses_are_allowed_unless_they_are_denied(kind: str) -> None:
    advice = "(egress.private is deny; add its network to egress.allow)"
    for each in PRIVATE[kind]:
        assert ip_policy.refusal(each, Egress()) is None
        assert ip_policy.refusal(each, DENY) == f"{kind} {advice}"
        assert ip_policy.refusal(each, Egress(private=False, allow=(ip_network(each),))) is None
        assert ip_policy.refusal(each, Egress(private=False, allow=(ip_network("10.9.9.9"),))) is not None


def test_public_addresses_are_allowed() -> None:
    assert [each for each in PUBLIC if ip_policy.refusal(each, DENY) is not None] == []


@pytest.mark.parametrize("pattern", COVERS.values(), ids=COVERS)
def test_an_ipv4_address_embedded_in_an_ipv6_one_is_checked(pattern: str) -> None:
    assert ip_policy.refusal(cover(pattern, "8.8.8.8"), DENY) is None
    allow_ten = Egress(private=False, allow=(ip_network("10.0.0.0/8"),))
    assert ip_policy.refusal(cover(pattern, "10.0.0.5"), allow_ten) is None
    assert ip_policy.refusal(cover(pattern, "10.0.0.5"), Egress()) is None
    reason = ip_policy.refusal(cover(pattern, "10.0.0.5"), DENY)
    assert reason is not None
    assert reason.startswith("the way to 10.0.0.5, a private address (egress.private is deny")
    for rules in (Egress(), DENY, allow_ten):
        reason = ip_policy.refusal(cover(pattern, "169.254.169.254"), rules)
        assert reason == "the way to 169.254.169.254, a cloud metadata address (always refused)"


def test_a_local_nat64_address_is_private_and_its_embedded_address_is_checked() -> None:
    allowed = Egress(private=False, allow=(ip_network("64:ff9b:1::/48"),))
    for at_the_end, behind_48_bits in (("64:ff9b:1::808:808", "64:ff9b:1:808:8:800::"),):
        for each in (at_the_end, behind_48_bits):
            assert ip_policy.refusal(each, DENY) is not None
            assert ip_policy.refusal(each, Egress()) is None
            assert ip_policy.refusal(each, allowed) is None
    for each in ("64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::"):
        assert "169.254.169.254" in str(ip_policy.refusal(each, Egress()))


def test_always_refused_networks_cannot_be_allowed() -> None:
    assert ip_policy.never(ip_network("169.254.169.0/24")) == "a link-local address"
    assert ip_policy.never(ip_network("fd00:ec2::254")) == "a cloud metadata address"
    assert [ip_policy.never(ip_network(each)) for each in ("10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8")] == [None] * 4


@given(st.integers(0, 2**32 - 1))
def test_every_ipv4_address_is_judged_alike_in_each_embedding(number: int) -> None:
    inside = str(IPv4Address(number))
    plain = ip_policy.refusal(inside, DENY) is None
    for name in ("mapped", "translated", "NAT64", "6to4"):
        assert (ip_policy.refusal(cover(COVERS[name], inside), DENY) is None) == plain, name


@given(st.integers(0, 2**128 - 1))
def test_every_ipv6_address_is_either_allowed_or_refused(number: int) -> None:
    reason = ip_policy.refusal(str(IPv6Address(number)), Egress())
    assert reason is None or "(always refused)" in reason
