"""Every message that there can be, and what becomes of it in a format."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from daemon import formats, triggers
from daemon.formats import samples
from daemon.model import ActionState, Batch, Content, Message
from daemon.settings import Options

EVENTS = [samples.event(kind) for kind in triggers.REGISTRY]
BARE = [samples.bare_event(kind) for kind in triggers.REGISTRY]
OTHERS = [samples.action(), samples.action(ActionState.FAILED), *map(samples.alert, samples.ALERTS)]
BATCH = Message("msg_test", "test", EVENTS[0].type, Batch((samples.event_of(EVENTS[0]),)))


def content(name: str, message: Message, **options: Any) -> Content:
    """Return the content, which there must be."""
    rendered = formats.REGISTRY[name].content(message, Options(**options))
    assert rendered is not None
    return rendered


def body(name: str, message: Message, **options: Any) -> Any:
    """Return the body, read."""
    return json.loads(content(name, message, **options).body)


def changed(message: Message, **payload: Any) -> Message:
    """Return the message of an event with other things in its payload."""
    event = samples.event_of(message)
    return replace(message, about=replace(event, payload=event.payload | payload))


def with_incident(message: Message, **values: Any) -> Message:
    """Return the message of an event whose incident is another."""
    return changed(message, incident=samples.event_of(message).payload["incident"] | values)
