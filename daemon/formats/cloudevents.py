"""The format cloudevents: CloudEvents 1.0 over HTTP, as one JSON document or with the attributes in headers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from daemon.formats import standard
from daemon.formats.format import Format
from daemon.model import Action, Batch, Content, Event

if TYPE_CHECKING:
    from daemon.model import Json, Message
    from daemon.settings import Options

BINARY = "binary"
READABLE = "".join(map(chr, range(0x21, 0x7F))).translate({ord('"'): None, ord("%"): None})  # not escaped in headers


def content(message: Message, options: Options) -> Content | None:
    """Return a CloudEvent, whose ``data`` is that of the standard format, or None for a batch."""
    if isinstance(message.about, Batch):
        return None
    document = standard.document(message)
    attributes = _attributes(message, document)
    if options.content_mode == BINARY:
        headers = tuple((f"ce-{name}", quote(value, safe=READABLE)) for name, value in attributes.items())
        return Content(orjson.dumps(document["data"]), "application/json", headers)
    whole = attributes | {"datacontenttype": "application/json", "data": document["data"]}
    return Content(orjson.dumps(whole), "application/cloudevents+json")


def _attributes(message: Message, document: Json) -> dict[str, str]:
    source, subject = _origin(message)
    attributes = {
        "specversion": "1.0",
        "id": message.id,
        "source": source,
        "type": f"pagerelay.{message.type}",
        "time": document["timestamp"],
    }
    return attributes if subject is None else attributes | {"subject": subject}


def _origin(message: Message) -> tuple[str, str | None]:
    """Return the event's source, and its subject if it has one."""
    match message.about:
        case Event() as event:
            return f"urn:pagerelay:connection:{event.connection}", event.incident_id
        case Action() as action:
            return f"urn:pagerelay:connection:{action.connection}", action.incident_id
        case _:
            return "urn:pagerelay:daemon", None


FORMAT = Format(
    content=content,
    help="CloudEvents 1.0, structured or binary",
    options=frozenset({"content_mode"}),
)
