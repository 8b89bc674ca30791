"""No connection is made to a forbidden address: observed at the far side, which counts connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from daemon.model import Content
from daemon.outbound import resolver, sender, urls
from daemon.settings import Egress, Target
from tests.harness.eventually import eventually
from tests.harness.listening import listening
from tests.harness.receivers import SECRET, Receiver, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONTENT = Content(b"{}", "application/json")
DENY = Egress(private=False)
ONLY_TWO = Egress(private=False, allow=(ip_network("127.0.0.2"),))
LOOPBACK = [  # every spelling of an IPv4 loopback address that the client accepts
    "127.0.0.1",
    "127.255.255.254",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7F.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "0177.0x0.1",
    "127.0.0.1.",
    "127.0.0.0x1",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.0.0.1",  # noqa: RUF001 - full width
    "127。0。0。1",
    "127．0．0．1",  # noqa: RUF001 - full width
    "①②⑦.⓪.⓪.①",
    "𝟏𝟐𝟕.𝟎.𝟎.𝟏",  # noqa: RUF001 - bold
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
]
ELSEWHERE = [  # and of other addresses that are forbidden, or must be allowed explicitly
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "0",
    "0.0.0.0",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:808:808::80ff:fffe]",
    "[2606:4700::5efe:7f00:1]",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "100.100.100.200",
    "168.63.129.16",
    "10.0.0.1",
    "172.16.1",
    "192.168.257",
    "100.64.0.1",
    "[fc00::1]",
    "[ff02::1]",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "4294967295",
]
SPELLINGS = [*LOOPBACK, *ELSEWHERE]


class Trap:
    """Listens on every address of this machine, and counts connections."""

    def __init__(self) -> None:
        self.came = 0
        self.port = 0

    @asynccontextmanager
    async def set(self) -> AsyncIterator[Trap]:
        async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.came += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()

        async with contextlib.AsyncExitStack() as servers:
            self.port = await servers.enter_async_context(listening(come, "0.0.0.0"))
            with contextlib.suppress(OSError):  # a machine without IPv6
                await servers.enter_async_context(listening(come, "::1", self.port))
            yield self


def target(url: str, rules: Egress = DENY, **more: Any) -> Target:
    more.setdefault("timeout", timedelta(seconds=15))
    return Target("ops", SecretStr(url), (SecretStr(SECRET),), egress=rules, **more)


async def attempt(chosen: Target, *leads_to: str) -> sender.SendResult:
    """Make one attempt; every name resolves to these addresses."""
    sending = sender.Sender(chosen, lookup=lambda _name, _port: leads_to)
    try:
        return await sending.send("msg_1", CONTENT, 1)
    finally:
        await sending.close()


async def refused(chosen: Target, *leads_to: str) -> str:
    answer = await attempt(chosen, *leads_to)
    assert answer.status is None
    assert answer.error is not None
    assert answer.error.startswith("refused: "), answer.error
    return answer.error


def quoted(url: str) -> str:
    """Return a URL as sent in a header: characters outside ASCII are percent-encoded."""
    return quote(url, safe=":/[]%.")


def port_of(url: str) -> int:
    return urls.parse(url).port


async def test_no_spelling_of_a_forbidden_address_is_connected_to() -> None:
    async with Trap().set() as trap:
        for host in SPELLINGS:
            await refused(target(f"http://{host}:{trap.port}/in"))
        assert trap.came == 0
        for host in LOOPBACK:  # the trap would have counted them
            assert (await attempt(target(f"http://{host}:{trap.port}/in", Egress()))).status == 200, host
        assert trap.came == len(LOOPBACK)
    assert len(SPELLINGS) > 50


async def test_no_name_that_leads_to_a_forbidden_address_is_connected_to() -> None:
    hosts = {urls.parse(f"http://{host}/").host.strip("[]") for host in SPELLINGS}
    async with Trap().set() as trap:
        for address in hosts:
            for name in ("hooks.example", "HOOKS.example.", "localhost", "xn--fsq.example"):
                answer = await refused(target(f"http://{name}:{trap.port}/in"), address)
                assert f"{name.lower()} resolves to {address}, " in answer
        assert trap.came == 0
        assert (await attempt(target(f"http://hooks.example:{trap.port}/in", Egress()), "127.0.0.1")).status == 200
        assert trap.came == 1


async def test_no_redirect_is_followed_to_any_address() -> None:
    async with Trap().set() as trap:
        places = iter([f"http://{host}:{trap.port}/" for host in SPELLINGS])
        receiver = Receiver(lambda _request: Reply(307, {"location": quoted(next(places))}))
        async with receiver.serving("127.0.0.2") as url:
            sending = sender.Sender(target(url, ONLY_TWO))
            for _ in SPELLINGS:
                answer = await sending.send("msg_1", CONTENT, 1)
                assert str(answer.error).startswith("answered 307")
            await sending.close()
        assert (trap.came, len(receiver.got)) == (0, len(SPELLINGS))


async def test_no_proxy_from_the_environment_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    async with Trap().set() as trap, receiver.serving("127.0.0.2") as url:
        for host in LOOPBACK:
            for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://{host}:{trap.port}")
            await refused(target(f"http://{host}:{trap.port}/in"))
        assert (await attempt(target(url, ONLY_TWO))).status == 200
        assert (await attempt(target(f"http://hooks.example:{port_of(url)}/", ONLY_TWO), "127.0.0.2")).status == 200
        assert (trap.came, len(receiver.got)) == (0, 2)


async def test_no_configured_proxy_carries_anything_to_a_forbidden_address() -> None:
    proxy = Receiver()
    async with proxy.serving() as url:
        through = SecretStr(url.removesuffix("/hook"))
        for host in SPELLINGS:
            await refused(target(f"http://{host}/in", proxy=through))
            address = urls.parse(f"http://{host}/").host.strip("[]")
            await refused(target("http://hooks.example/in", proxy=through), "192.88.1.1", address)
    assert (proxy.got, proxy.connections) == ([], 0)


@pytest.mark.parametrize("way", ["http://{}:{}", "http://proxy.example:{1}"], ids=["address", "name"])
async def test_a_proxy_may_have_a_private_address_but_not_a_forbidden_one(way: str) -> None:
    async with Trap().set() as trap:
        for address in ("169.254.169.254", "0.0.0.0", "[fe80::1]", "[::ffff:a9fe:a9fe]"):
            through = SecretStr(way.format(address, trap.port))
            answer = await attempt(target("http://192.88.1.1/in", proxy=through), address.strip("[]"))
            assert "(always refused)" in str(answer.error)
        assert trap.came == 0
        through = SecretStr(way.format("127.0.0.1", trap.port))
        assert (await attempt(target("http://192.88.1.1/in", proxy=through), "127.0.0.1")).status == 200
        assert trap.came == 1


# --- through a proxy


async def test_a_proxy_gets_its_credentials_and_resolves_the_target_itself() -> None:
    proxy = Receiver()
    async with proxy.serving() as url:
        through = SecretStr(url.replace("http://", "http://user:p%2Fss@").removesuffix("/hook"))
        asked: list[str] = []

        def unknown(name: str, _port: int) -> tuple[str, ...]:
            asked.append(name)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        sending = sender.Sender(target("http://hooks.invalid/in?a=b", proxy=through), lookup=unknown)
        answer = await sending.send("msg_1", CONTENT, 1)
        await sending.close()
    (request,) = proxy.got
    assert (answer.status, asked) == (200, ["hooks.invalid"])
    assert (request.path, request.headers["host"]) == ("http://hooks.invalid/in?a=b", "hooks.invalid")
    assert request.headers["proxy-authorization"] == "Basic dXNlcjpwL3Nz"


async def test_a_late_lookup_for_a_target_behind_a_proxy_applies_to_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "PATIENCE", 0.01)
    resumed = threading.Event()

    def slow(_name: str, _port: int) -> tuple[str, ...]:
        assert resumed.wait(20)
        return ("10.0.0.5",)

    async def is_refused() -> bool:
        answers.append(await sending.send("msg_1", CONTENT, 1))
        return answers[-1].status != 200

    answers: list[sender.SendResult] = []
    proxy = Receiver()
    async with proxy.serving() as url:
        chosen = target("http://hooks.invalid/in", proxy=SecretStr(url.removesuffix("/hook")))
        sending = sender.Sender(chosen, lookup=slow)
        assert not await is_refused()
        resumed.set()
        await eventually(is_refused)
        await sending.close()
    assert str(answers[-1].error).startswith("refused: hooks.invalid resolves to 10.0.0.5, a private address")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_output_contains_proxy_credentials(scheme: str) -> None:
    echo = "canary-user:canary-password Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3Jk canary-password"
    proxy = Receiver(lambda _request: Reply(407, {}, echo.encode()))
    async with proxy.serving() as url:
        through = SecretStr(url.replace("http://", "http://canary-user:canary-password@").removesuffix("/hook"))
        chosen = target(f"{scheme}://192.88.1.1/in", proxy=through)
        answer = await attempt(chosen)
    assert len(proxy.got) == 1
    assert answer.error is not None
    for text in (repr(answer), repr(chosen)):
        assert "canary-password" not in text
        assert "Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3Jk" not in text
    if scheme == "http":
        assert (answer.error, answer.excerpt) == ("answered 407", "*** *** ***")
    else:
        assert answer.error == "could not connect: the proxy answered 407 (check its user and password)"


# --- several addresses, and names that move


async def test_the_next_address_is_tried_in_the_same_attempt() -> None:
    receiver = Receiver()
    async with receiver.serving("127.0.0.2") as url:
        chosen = target(f"http://hooks.example:{port_of(url)}/", Egress())
        asked = 0

        def lookup(_name: str, _port: int) -> tuple[str, ...]:
            nonlocal asked
            asked += 1
            return ("127.0.0.3", "127.0.0.4", "127.0.0.2")

        sending = sender.Sender(chosen, lookup=lookup)
        for _ in range(3):
            assert (await sending.send("msg_1", CONTENT, 1)).status == 200
        await sending.close()
    assert (len(receiver.got), receiver.connections, asked) == (3, 1, 1)


async def test_an_attempt_fails_after_each_address_was_tried_once() -> None:
    async with Receiver().serving() as url:
        pass
    answer = await attempt(target(f"http://hooks.example:{port_of(url)}/", Egress()), "127.0.0.3", "127.0.0.4")
    assert answer.error == "could not connect: Connection refused (os error 111)"


async def test_an_unresponsive_address_leaves_time_for_the_next_one() -> None:
    receiver = Receiver()
    async with receiver.serving("127.0.0.2") as url:
        with socket.socket() as full, contextlib.ExitStack() as waiting:
            full.bind(("127.0.0.3", port_of(url)))
            full.listen(0)
            for _ in range(3):  # its queue is full, so that it no longer responds
                one = waiting.enter_context(socket.socket())
                one.settimeout(0)
                with contextlib.suppress(BlockingIOError):
                    one.connect(full.getsockname())
            chosen = target(f"http://hooks.example:{port_of(url)}/", Egress(), timeout=timedelta(seconds=3))
            answer = await attempt(chosen, "127.0.0.3", "127.0.0.2", "127.0.0.4")
    assert answer.status == 200
    assert 0.2 < answer.seconds < 2.9


async def test_the_lookup_counts_towards_the_timeout_of_the_attempt() -> None:
    nothing = threading.Event()

    def slow(_name: str, _port: int) -> tuple[str, ...]:
        nothing.wait(1)
        return ("127.0.0.1",)

    async with Receiver(lambda _request: Reply(how="hang")).serving() as url:
        chosen = target(f"http://hooks.example:{port_of(url)}/", Egress(), timeout=timedelta(seconds=2))
        sending = sender.Sender(chosen, lookup=slow)
        answer = await sending.send("msg_1", CONTENT, 1)
        await sending.close()
    assert answer.error == "no response within 2 s"
    assert answer.seconds < 2.9


async def test_a_changed_address_is_followed_and_requests_in_flight_finish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "FRESH", 0.0)
    gate = asyncio.Event()
    old, new = Receiver(lambda request: Reply(held=gate.wait if request.id == "slow" else None)), Receiver()
    async with old.serving("127.0.0.2") as url, new.serving("127.0.0.3", port_of(url)):
        leads_to = ["127.0.0.2"]
        chosen = target(f"http://hooks.example:{port_of(url)}/", Egress())
        sending = sender.Sender(chosen, lookup=lambda _name, _port: tuple(leads_to))

        async def send(message: str) -> int | None:
            return (await sending.send(message, CONTENT, 1)).status

        assert await send("one") == 200
        slow = asyncio.create_task(send("slow"))
        await eventually(lambda: len(old.got) >= 2)
        leads_to[:] = ["127.0.0.3"]
        assert [await send("two"), await send("three")] == [200, 200]
        assert (len(old.got), len(new.got)) == (2, 2)
        assert not slow.done()
        gate.set()
        assert await slow == 200
        leads_to[:] = ["10.0.0.1", "127.0.0.3"]  # the one in use is kept while the name still has it
        assert await send("four") == 200
        await sending.close()
    assert (len(old.got), len(new.got), new.connections) == (2, 3, 1)


async def test_a_name_that_changes_to_a_forbidden_address_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "FRESH", 0.0)
    receiver = Receiver()
    elsewhere = Receiver()
    async with receiver.serving("127.0.0.2") as url, elsewhere.serving("127.0.0.1", port_of(url)):
        leads_to = ["127.0.0.2"]
        chosen = target(f"http://hooks.example:{port_of(url)}/", ONLY_TWO)
        sending = sender.Sender(chosen, lookup=lambda _name, _port: tuple(leads_to))
        assert (await sending.send("one", CONTENT, 1)).status == 200
        leads_to[:] = ["127.0.0.1"]
        answer = await sending.send("two", CONTENT, 1)
        assert str(answer.error).startswith("refused: hooks.example resolves to 127.0.0.1, a loopback address")
        await sending.close()
    assert (len(receiver.got), elsewhere.connections) == (1, 0)


def test_a_forbidden_literal_address_is_a_configuration_error() -> None:
    for host in SPELLINGS:
        assert resolver.refusal(f"http://{host}/in", DENY) is not None, host
    for url in ("https://hooks.example/in", "http://8.8.8.8/", "http://[2606:4700::1]/"):
        assert resolver.refusal(url, DENY) is None
    assert resolver.refusal("http://10.0.0.1/", Egress()) is None
    assert resolver.refusal("http://256.0.0.1/") == "has an invalid host: neither a name nor an address"
    assert resolver.refusal("http://[fe80::1%25eth0]/") == "has an invalid host: neither a name nor an address"
