"""Connections that break anywhere, and addresses that do not respond."""

from __future__ import annotations

import asyncio
import errno
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from pydantic import SecretStr

from daemon.model import Content
from daemon.outbound import connecting, sender
from daemon.outbound.http_connection import NOT_HTTP
from daemon.settings import Target, Tls
from tests.harness.certificates import Authority
from tests.harness.listening import listening
from tests.harness.receivers import SECRET, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CONTENT = Content(b"{}", "application/json")
ANSWER = b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 3\r\n\r\nabc"


def target(url: str, **more: Any) -> Target:
    return Target("ops", SecretStr(url), (SecretStr(SECRET),), timeout=timedelta(seconds=15), **more)


def sockets() -> int:
    """Return how many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def shut(writer: asyncio.StreamWriter) -> None:
    writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("end", [shut, reset])
async def test_a_connection_that_breaks_at_any_byte_is_judged_by_its_status_line(
    end: Callable[[asyncio.StreamWriter], None],
) -> None:
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER[:count])
        await writer.drain()
        end(writer)

    async with listening(serve) as port:
        sending = sender.Sender(target(f"http://127.0.0.1:{port}/"))
        for count in range(len(ANSWER)):
            answer = await sending.send("msg_1", CONTENT, 1)
            if count < len("HTTP/1.1 200"):
                assert answer.status is None
                assert answer.error == NOT_HTTP or str(answer.error).startswith("the connection broke: "), count
            else:
                assert (answer.status, answer.error) == (200, None), count
        await sending.close()


async def test_ipv6_and_ipv4_are_tried_by_turns() -> None:
    assert connecting.interleaved(["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"]) == [
        "::1",
        "127.0.0.1",
        "::2",
        "127.0.0.2",
        "::3",
    ]
    receiver = Receiver()
    async with receiver.serving() as url:
        sending = sender.Sender(
            target(url.replace("127.0.0.1", "hooks.example")), lookup=lambda _name, _port: ("::1", "127.0.0.1")
        )
        assert (await sending.send("msg_1", CONTENT, 1)).status == 200
        await sending.close()


async def test_a_lack_of_descriptors_is_not_blamed_on_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    sending = sender.Sender(target("http://127.0.0.1:1/"))
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", exhausted)
        answer = await sending.send("msg_1", CONTENT, 1)
    await sending.close()
    assert (answer.is_ours, answer.error) == (True, "could not connect: Too many open files (os error 24)")


async def test_a_connection_is_closed_after_it_was_idle_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.outbound.connection.IDLE", 0.0)
    receiver = Receiver()
    async with receiver.serving() as url:
        sending = sender.Sender(target(url))
        for _ in range(2):
            assert (await sending.send("msg_1", CONTENT, 1)).status == 200
        await sending.close()
    assert receiver.connections == 2


async def test_no_header_can_begin_another_line() -> None:
    receiver = Receiver()
    async with receiver.serving() as url:
        sending = sender.Sender(target(url))
        answer = await sending.send("msg_1", Content(b"{}", "text/plain\r\nx: y"), 1)
        await sending.close()
    assert (answer.status, answer.error, receiver.got) == (None, "a header contains a line break (remove it)", [])


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_either_event_loop_reads_tls_and_an_answer_before_the_request_was_sent(
    run: Callable[[Coroutine[Any, Any, None]], None], tmp_path: Path
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\nretry-after: 7\r\ncontent-length: 3\r\n\r\nbig")
        await writer.drain()
        writer.transport.abort()

    async def both() -> None:
        async with listening(refuse) as port:
            sending = sender.Sender(target(f"http://127.0.0.1:{port}/"))
            answer = await sending.send("msg_1", Content(b"x" * 20_000_000, "text/plain"), 1)
            await sending.close()
        assert (answer.status, answer.retry_after, answer.excerpt) == (413, "7", "big")
        authority, receiver = Authority(), Receiver()
        async with receiver.serving(tls=authority.server(tmp_path, "127.0.0.1")) as url:
            sending = sender.Sender(target(url, tls=Tls(authority.pem)))
            for _ in range(2):
                assert (await sending.send("msg_1", CONTENT, 1)).status == 200
            await sending.close()
        assert (receiver.connections, len(receiver.got)) == (1, 2)

    run(both())


async def test_closing_leaves_no_socket_open() -> None:
    """As in a reload, after which no socket of a former target remains."""
    receiver = Receiver()
    async with receiver.serving() as url:
        sending = sender.Sender(target(url))
        assert (await sending.send("msg_1", CONTENT, 1)).status == 200
        before = sockets()
        await sending.close()
        assert sockets() == before - 1
