"""Limits for every request: bodies are bounded, responses are not cached, unexpected errors show no details."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from daemon.api import problem_documents

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

LARGEST_BODY = 384 * 1024  # a note of 25,000 characters, each an escaped pair of surrogates, takes 310 KB


class RequestLimits:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_unstored(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message)["cache-control"] = "no-store"
            await send(message)

        try:
            await self._app(scope, _bounded(receive), send_unstored)
        except Exception:  # the outermost handler: no traceback may reach a client
            log.exception("request.failed", method=scope["method"], path=scope["path"])
            if begun:
                raise  # the response has begun, so only breaking the connection is left
            response = problem_documents.respond(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected error (see the log)")
            await response(scope, receive, send_unstored)


def _bounded(receive: Receive) -> Receive:
    taken = 0

    async def receive_some() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must not exceed {LARGEST_BODY} bytes")
        return message

    return receive_some
