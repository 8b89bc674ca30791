"""Clients of the HTTP server that are slow, silent or too many."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from typing import TYPE_CHECKING

import httpx
import pytest

from daemon import api
from daemon.api import protocol, request_limits
from tests.api.client import client_of
from tests.harness.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from daemon.settings import Settings
    from daemon.storage.database import Database

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection to the server."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def served(database: Database, settings: Settings) -> AsyncIterator[str]:
    """Serve the API."""
    async with api.serving(database, api.Current(settings)) as address:
        assert address is not None
        yield address


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        (b"", b"HTTP/1.1 408 "),
        (b"GET /healthz HTT", b"HTTP/1.1 408 "),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"HTTP/1.1 408 "),
        (b"POST /v1/replays HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{", b""),
    ],
    ids=["silent", "half a line", "half a header", "half a body"],
)
async def test_a_request_that_does_not_arrive_whole_in_time_ends_its_connection(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, part: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(protocol.BoundedProtocol, "request_seconds", 0.3)  # far longer than the part takes to arrive
    async with served(database, settings) as address, connected(address) as (reader, writer):
        writer.write(part)
        answered = b""
        with contextlib.suppress(ConnectionError):
            answered = await reader.read()  # until the server closes
        assert (answered[: len(answer)] == answer) if answer else b"408" not in answered


async def test_a_second_request_has_its_own_time(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.BoundedProtocol, "request_seconds", 0.3)
    async with served(database, settings) as address, connected(address) as (reader, writer):
        for _ in range(5):
            writer.write(HEALTH)
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b"}")
        writer.write(HEALTH[:10])
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")


async def test_silent_connections_make_room_for_new_ones(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "most_connections", lambda: 20)
    async with served(database, settings) as address, contextlib.AsyncExitStack() as silent:
        held = [await silent.enter_async_context(connected(address)) for _ in range(50)]
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{address}/healthz")).status_code == 200
        await eventually(lambda: sum(reader.at_eof() or reader.exception() is not None for reader, _ in held) >= 30)


async def test_a_client_that_reads_nothing_is_disconnected(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.BoundedProtocol, "reading_seconds", 0.05)
    lost = asyncio.Event()
    forget = protocol.BoundedProtocol.connection_lost

    def connection_lost(self: protocol.BoundedProtocol, exc: Exception | None) -> None:
        forget(self, exc)
        lost.set()

    monkeypatch.setattr(protocol.BoundedProtocol, "connection_lost", connection_lost)
    async with served(database, settings) as address, connected(address) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(3000):  # more than all buffers between the two hold
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(lost.wait(), 20)
        assert not reader.at_eof()


def test_the_api_leaves_most_descriptors_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
    assert protocol.most_connections() == 256
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, -1))
    assert protocol.most_connections() == protocol.MOST_CONNECTIONS


async def test_too_many_requests_at_once_are_asked_to_come_back(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MOST_REQUESTS", 0)
    async with client_of(app) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"] == "too many requests at once (try again in a second)"
