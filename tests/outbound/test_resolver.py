"""Resolving names: rarely, in a separate thread, and following changes."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from ipaddress import ip_network

import pytest

from daemon import errors
from daemon.outbound import resolver
from daemon.settings import Egress
from tests.harness.eventually import eventually


class Names:
    """A resolver with scripted answers, and a clock that stands still."""

    def __init__(self, *answer: str) -> None:
        self.answer = answer
        self.error: OSError | None = None
        self.asked = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.now = 1000.0

    def __call__(self, name: str, port: int) -> tuple[str, ...]:
        self.asked += 1
        assert self.go_on.wait(20)
        if self.error is not None:
            raise self.error
        return self.answer

    def host(self, rules: Egress = Egress(private=False)) -> resolver.Host:  # noqa: B008 - frozen
        return resolver.Host("hooks.example", 443, rules, self, lambda: self.now)


UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def refused(host: resolver.Host) -> str:
    with pytest.raises(errors.NoAnswer) as caught:
        await host.permitted(20)
    return str(caught.value)


async def test_running_out_of_descriptors_is_no_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    def without_descriptors(*_arguments: object, **_options: object) -> None:
        raise UNKNOWN

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", exhausted)
        patched.setattr(socket, "getaddrinfo", without_descriptors)
        with pytest.raises(OSError, match="Too many open files"):
            resolver.look_up("hooks.example", 443)
    names = Names()
    names.error = OSError(errno.EMFILE, "Too many open files")
    host = names.host()
    with pytest.raises(errors.OutOfResources, match=r"hooks\.example cannot be resolved: Too many open files"):
        await host.permitted(20)
    names.error, names.now = UNKNOWN, names.now + 10
    with pytest.raises(errors.NoAnswer) as caught:
        await host.permitted(20)
    assert not isinstance(caught.value, errors.OutOfResources)


async def test_a_name_is_resolved_once_in_thirty_seconds_and_a_changed_address_is_followed() -> None:
    names = Names("192.88.1.1", "192.88.1.2")
    host = names.host()
    assert await host.permitted(20) == ("192.88.1.1", "192.88.1.2")
    names.answer = ("192.88.1.3",)
    names.now += 29
    assert (await host.permitted(20), names.asked) == (("192.88.1.1", "192.88.1.2"), 1)
    names.now += 2
    assert (await host.permitted(20), names.asked) == (("192.88.1.3",), 2)


async def test_simultaneous_attempts_share_one_lookup() -> None:
    names = Names("192.88.1.1")
    names.go_on.clear()
    host = names.host()
    asking = [asyncio.create_task(host.permitted(20)) for _ in range(20)]
    await asyncio.sleep(0)
    names.go_on.set()
    assert set(await asyncio.gather(*asking)) == {("192.88.1.1",)}
    assert names.asked == 1


async def test_only_permitted_addresses_are_returned() -> None:
    names = Names("10.0.0.5", "192.88.1.1", "fe80::1%eth0", "fd00::1", "169.254.169.254")
    assert await names.host().permitted(20) == ("192.88.1.1",)
    assert await names.host(Egress()).permitted(20) == ("10.0.0.5", "192.88.1.1", "fd00::1")
    allowed = Egress(private=False, allow=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
    assert await names.host(allowed).permitted(20) == ("10.0.0.5", "192.88.1.1", "fd00::1")


async def test_without_a_permitted_address_the_error_has_reason_and_remedy() -> None:
    names = Names("10.0.0.5", "127.0.0.1")
    host = names.host()
    assert await refused(host) == (
        "refused: hooks.example resolves to 10.0.0.5, a private address "
        "(egress.private is deny; add its network to egress.allow)"
    )
    names.answer, names.now = ("192.88.1.1",), names.now + 31
    assert await host.permitted(20) == ("192.88.1.1",)
    names.answer, names.now = ("169.254.169.254",), names.now + 31
    message = "refused: hooks.example resolves to 169.254.169.254, a cloud metadata address (always refused)"
    assert await refused(host) == message
    names.answer, names.now = (), names.now + 31
    assert await refused(host) == "hooks.example has no address"


async def test_a_failed_connection_triggers_a_new_lookup_but_not_each_failure_does() -> None:
    names = Names("192.88.1.1")
    host = names.host()
    await host.permitted(20)
    for _ in range(10):
        host.doubt()
        await host.permitted(20)
    assert names.asked == 1
    names.now += 6
    for _ in range(10):
        host.doubt()
        await host.permitted(20)
    assert names.asked == 2


async def test_a_stale_answer_is_used_for_a_while_if_the_lookup_fails() -> None:
    names = Names("192.88.1.1")
    host = names.host()
    await host.permitted(20)
    names.error = UNKNOWN
    for _ in range(9):
        names.now += 31
        assert await host.permitted(20) == ("192.88.1.1",)
    names.now += 31
    assert await refused(host) == "hooks.example cannot be resolved: Name or service not known"
    asked = names.asked
    await refused(host)
    assert names.asked == asked
    names.error, names.now = None, names.now + 6
    assert await host.permitted(20) == ("192.88.1.1",)


async def test_a_slow_lookup_times_out_with_the_attempt_and_serves_the_next_one() -> None:
    names = Names("192.88.1.1")
    names.go_on.clear()
    host = names.host()
    with pytest.raises(errors.NoAnswer, match=r"hooks\.example was not resolved in time"):
        await host.permitted(0.01)
    waiting = asyncio.create_task(host.permitted(20))
    await asyncio.sleep(0)
    names.go_on.set()
    assert (await waiting, names.asked) == (("192.88.1.1",), 1)


async def test_the_last_answer_is_used_while_a_lookup_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "PATIENCE", 0.01)
    names = Names("192.88.1.1")
    host = names.host()
    await host.permitted(20)
    names.answer, names.now = ("192.88.1.2",), names.now + 31
    names.go_on.clear()
    assert await host.permitted(20) == ("192.88.1.1",)
    names.go_on.set()
    async with asyncio.timeout(30):
        while await host.permitted(20) != ("192.88.1.2",):  # until the answer has arrived
            await asyncio.sleep(0)


async def test_the_end_of_an_attempt_does_not_cancel_the_lookup() -> None:
    names = Names("192.88.1.1")
    names.go_on.clear()
    host = names.host()
    one, other = (asyncio.create_task(host.permitted(20)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    names.go_on.set()
    assert (await other, names.asked) == (("192.88.1.1",), 1)


async def test_behind_a_proxy_every_address_is_checked_and_unknown_names_are_left_to_the_proxy() -> None:
    names = Names("192.88.1.1", "10.0.0.5")
    with pytest.raises(errors.NoAnswer, match=r"resolves to 10\.0\.0\.5, a private address"):
        await names.host().check(20)
    names.answer = ("192.88.1.1",)
    await names.host().check(20)
    names.error = UNKNOWN
    await names.host().check(20)


async def test_a_name_found_to_be_forbidden_later_is_refused_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "PATIENCE", 0.01)
    names = Names("10.0.0.5")
    names.go_on.clear()
    host = names.host()
    await host.check(20)  # the name is unknown here so far
    names.go_on.set()
    await eventually(lambda: names.asked > 0 and host._query is None)
    with pytest.raises(errors.NoAnswer, match=r"resolves to 10\.0\.0\.5"):
        await host.check(20)


async def test_an_ip_address_needs_no_lookup() -> None:
    names = Names("192.88.1.1")
    host = resolver.Host("[::ffff:808:808]", 443, Egress(private=False), names)
    assert await host.permitted(0) == ("::ffff:808:808",)
    host.doubt()
    assert await host.permitted(0) == ("::ffff:808:808",)
    assert "refused: the host is ::1, a loopback address" in await refused(
        resolver.Host("[::1]", 443, Egress(private=False), names)
    )
    assert names.asked == 0


def test_the_system_resolver_is_used_and_its_order_kept() -> None:
    assert resolver.look_up("localhost", 80)[0] in {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match="not known"):
        resolver.look_up("x" * 64, 80)
