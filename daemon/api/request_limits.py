"""Limits for every request: bodies and their number are bounded, responses not cached, unexpected errors not shown."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from daemon.api.refusals import Refusals

log = structlog.get_logger()

MOST_REQUESTS = 256  # at once; the others are asked to come back
BUSY = "too many requests at once (try again in a second)"
SAFE_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
BACK_SOON = {"Retry-After": "1"} | SAFE_HEADERS
LARGEST_BODY = 384 * 1024  # a note of 25,000 characters, each an escaped pair of surrogates, takes 310 KB


class RequestLimits:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, refusals: Refusals) -> None:
        self._app = app
        self._running = 0
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._running >= MOST_REQUESTS:
            refusal = self._refusals.response(scope, HTTPStatus.SERVICE_UNAVAILABLE, BUSY, BACK_SOON)
            await refusal(scope, receive, send)
            return
        self._running += 1
        try:
            await self._handle(scope, receive, send)
        finally:
            self._running -= 1

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_unstored(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message).update(SAFE_HEADERS)
            await send(message)

        try:
            await self._app(scope, _bounded(receive), send_unstored)
        except Exception:  # the outermost handler: no traceback may reach a client
            log.exception("request.failed", method=scope["method"], path=scope["path"])
            if has_begun:
                raise  # the response has begun, so only breaking the connection is left
            await self._refusals.unexpected(scope)(scope, receive, send_unstored)


def _bounded(receive: Receive) -> Receive:
    size = 0

    async def receive_some() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LARGEST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must not exceed {LARGEST_BODY} bytes")
        return message

    return receive_some
