"""The request of a delivery, for people: the body, and the headers without signatures and secrets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.delivery import contents
from daemon.model import MASK, Content
from daemon.storage import messages

if TYPE_CHECKING:
    from daemon.settings import Target
    from daemon.storage.database import Database


@dataclass(frozen=True, slots=True)
class Preview:
    """A request as it is sent now. Configured header values and credentials are masked."""

    headers: tuple[tuple[str, str], ...]
    body: str


async def render(database: Database, target: Target, message_id: str) -> Preview | contents.Unrenderable:
    """Return what the target gets with this message under the present configuration."""
    loaded = await database.read(messages.load, {message_id})
    if message_id not in loaded:
        return contents.MISSING
    rendering = await asyncio.to_thread(contents.render, target.format, target.options, loaded[message_id])
    return (
        Preview(_headers(target, message_id, rendering), _text(rendering))
        if isinstance(rendering, Content)
        else rendering
    )


def _headers(target: Target, message_id: str, content: Content) -> tuple[tuple[str, str], ...]:
    own = [("content-type", content.content_type), ("webhook-id", message_id)]
    configured = [(name, MASK) for name, _ in target.headers]
    credentials = [("authorization", MASK)] if target.auth is not None else []
    return (*own, *content.headers, *configured, *credentials)


def _text(content: Content) -> str:
    return content.body.decode("utf-8", "replace")
