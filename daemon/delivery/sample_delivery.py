"""Test of a target: a signed sample of each kind of message it receives, sent without the queue. Stores nothing."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon import errors, formats, triggers
from daemon.delivery import acceptance
from daemon.formats import samples
from daemon.outbound.sender import Sender
from daemon.triggers import triggered

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime, timedelta

    from daemon.model import Message
    from daemon.settings import Target, Trigger

MARK_BYTES = 11


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one sample. ``error`` is None on success; otherwise ``answer`` is an excerpt of the body."""

    type: str
    message_id: str
    status: int | None
    error: str | None
    answer: str | None
    duration_ms: int


def kinds(
    target: Target, configured: Iterable[Trigger], notified: Collection[str], alerted: Collection[str]
) -> list[str]:
    """Return the types of the messages that a target receives; if there are none yet, one to test it with."""
    mine = (trigger for trigger in configured if target.name in trigger.to)
    types = [name for trigger in mine for name in triggers.expand(trigger.on) if _is_supported(target, name)]
    types += samples.ACTIONS if target.name in notified else ()
    types += samples.ALERTS if target.name in alerted else ()
    return list(dict.fromkeys(types)) or [triggered.TYPE.name]


def _is_supported(target: Target, name: str) -> bool:
    return formats.REGISTRY[target.format].supports(triggers.BY_NAME[name].event_type)


async def run(target: Target, types: Sequence[str], now: datetime, longest: timedelta) -> list[Trial]:
    """Send a sample of each type, with the target's concurrency, all within ``longest``."""
    sender = Sender(target, formats.signing(target), acceptance.rejects(target))
    places = asyncio.Semaphore(target.concurrency)

    async def send(message: Message) -> Trial:
        async with places:
            return await _send(sender, target, message, now)

    messages = [sample(name, now) for name in types]
    tasks = [asyncio.create_task(send(message)) for message in messages]
    seconds = longest.total_seconds()
    try:
        await asyncio.wait(tasks, timeout=seconds)
        late = f"no response within {seconds:g} s, the limit for all samples together"
        return [
            task.result() if task.done() else Trial(message.type, message.id, None, late, None, round(seconds * 1000))
            for message, task in zip(messages, tasks, strict=True)
        ]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await sender.close()


async def _send(sender: Sender, target: Target, message: Message, now: datetime) -> Trial:
    try:
        content = await asyncio.to_thread(formats.REGISTRY[target.format].content, message, target.options)
    except errors.FormatError as error:
        return Trial(message.type, message.id, None, str(error), None, 0)
    if content is None:
        return Trial(message.type, message.id, None, f"the format {target.format} does not support this type", None, 0)
    answer = await sender.send(message.id, content, int(now.timestamp()))
    took = round(answer.seconds * 1000)
    return Trial(message.type, message.id, answer.status, answer.error, answer.excerpt, took)


def sample(kind: str, now: datetime) -> Message:
    """Return a sample message of this type. Its ids are new, so that no receiver treats it as a repeat."""
    return samples.message(kind, mark=secrets.token_hex(MARK_BYTES), at=now)
