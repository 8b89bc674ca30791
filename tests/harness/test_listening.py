"""Tests of the servers that tests use: they leave nothing open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from tests.harness.certificates import Authority
from tests.harness.listening import Converse, listening

if TYPE_CHECKING:
    from pathlib import Path


async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"more than the system takes" * 1_000_000)


@pytest.mark.parametrize("converse", [hang, flood])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_made_during_the_shutdown_is_closed(
    converse: Converse, scheme: str, turns: int, tmp_path: Path
) -> None:
    tls = Authority().server(tmp_path, "127.0.0.1") if scheme == "https" else None
    async with listening(converse, tls=tls) as port:
        clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
    for client in clients:
        with client, contextlib.suppress(ConnectionResetError):
            while client.recv(65536):
                pass
