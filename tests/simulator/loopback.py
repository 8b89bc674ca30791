"""The simulator on a thread of its own, for clients that wait for their answers, and PagerDuty's own client for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import httpx2
import pagerduty
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.simulator import Account, Simulator


@contextlib.contextmanager
def served(simulator: Simulator) -> Iterator[str]:
    """Serve while inside; yields the URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[contextlib.AsyncExitStack, str]:
        stack = contextlib.AsyncExitStack()
        return stack, await stack.enter_async_context(simulator.serving())

    try:
        stack, url = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Loopback(httpx2.HTTPTransport):
    """Takes every request to the simulator, whichever of PagerDuty's hosts it is for: the client insists on https."""

    def __init__(self, url: str) -> None:
        super().__init__(trust_env=False)
        self._url = httpx2.URL(url)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        return super().handle_request(request)


class Rest(pagerduty.RestApiV2Client):
    """PagerDuty's client of the REST API, which neither waits nor repeats by itself here."""

    def __init__(self, url: str, account: Account, sender: str | None = None) -> None:
        super().__init__(account.api_key, default_from=sender, transport=Loopback(url))
        self.sleep_timer = 0
        self.max_network_attempts = 0


class Events(pagerduty.EventsApiV2Client):
    """PagerDuty's client of the Events API, which neither waits nor repeats by itself here."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(key, transport=Loopback(url))
        self.sleep_timer = 0
        self.max_network_attempts = 0
        self.retry = {}


def refusal(write: Callable[[], object]) -> tuple[int, int]:
    """Status and PagerDuty's code of a write that is refused."""
    with pytest.raises(pagerduty.HttpError) as caught:
        write()
    answer = caught.value.response
    assert answer is not None
    return answer.status_code, answer.json()["error"]["code"]
