"""The HTTP client: pagerelay's own against aiohttp, in the daemon's own delivery path, both on uvloop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp

import daemon
from bench import delivery, figures, load, receiver
from daemon.model import SUCCESS
from daemon.outbound import connection, sender

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.model import Content
    from daemon.settings import Target


class AiohttpSender(sender.Sender):
    """The sender with aiohttp: the same headers, limits and errors, one session per target."""

    def __init__(self, target: Target, sign: sender.Sign | None = None, rejects: sender.Rejects | None = None) -> None:
        super().__init__(target, sign, rejects)
        self._address = target.url.get_secret_value()
        agent = {"user-agent": f"pagerelay/{daemon.__version__}"}
        self._session = aiohttp.ClientSession(
            headers=agent,
            timeout=aiohttp.ClientTimeout(total=target.timeout.total_seconds()),
            connector=aiohttp.TCPConnector(limit=target.concurrency),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await super().close()
        await self._session.close()

    async def send(self, message_id: str, content: Content, timestamp: int) -> sender.SendResult:
        """Make one attempt."""
        started = time.perf_counter()
        headers = self.headers(message_id, content, timestamp)
        request = self._session.post(self._address, data=content.body, headers=headers, allow_redirects=False)
        try:
            async with request as response:
                await response.content.read(connection.LARGEST_BODY)
                status, retry_after = response.status, response.headers.get("retry-after")
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            return sender.SendResult(None, type(error).__name__, None, None, time.perf_counter() - started)
        error_text = None if status in SUCCESS else f"answered {status}"
        return sender.SendResult(status, error_text, retry_after, None, time.perf_counter() - started)


def measure(*, quick: bool, databases: Mapping[str, Callable[[], str]]) -> None:
    """Deliver with both clients alternately, and print the ratio."""
    new_database = next(iter(databases.values()))
    count, rounds = (5, 1) if quick else (delivery.EVENTS, 5)
    pairs = []
    with receiver.receivers(delivery.TARGETS) as receivers:
        for _ in range(rounds):
            other = delivery.pagerelay(receivers, new_database(), count, AiohttpSender)
            chosen = delivery.pagerelay(receivers, new_database(), count)
            pairs.append((chosen, other))
    figures.show(
        f"client, in the delivery path on SQLite and uvloop, {load.CONCURRENCY} concurrent requests per target",
        ("ratio of deliveries per second, own client : aiohttp", figures.Ratio.of(pairs, lambda run: run.rate)),
        ("ratio of processor time, own client : aiohttp", figures.Ratio.of(pairs, lambda run: run.process)),
        ("ratio of the loop's work, own client : aiohttp", figures.Ratio.of(pairs, lambda run: run.loop)),
    )
