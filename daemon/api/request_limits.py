"""What holds for every request: bodies are bounded, answers are not stored, unexpected errors are told in no detail."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from daemon.api import problems

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

LARGEST_BODY = 64 * 1024


class Guard:
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
        except Exception:
            log.exception("request.failed", method=scope["method"], path=scope["path"])
            if begun:
                raise  # half an answer is out: all that is left is to break the connection
            answer = problems.answer(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error, which is in the log")
            await answer(scope, receive, send_unstored)


def _bounded(receive: Receive) -> Receive:
    taken = 0

    async def receive_some() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {LARGEST_BODY} bytes")
        return message

    return receive_some
