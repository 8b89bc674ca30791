"""Ids of events and messages: hashes of what they are about, so that finding a thing twice gives the same id."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ID_LENGTH = 26


def event_id(connection: str, incident_id: str, event_type: str, key: str) -> str:
    """Return the id of an event; ``key`` tells events of one type and incident apart."""
    return "evt_" + digest(connection, incident_id, event_type, key)


def message_id(subject: str, trigger: str) -> str:
    """Return the ``webhook-id`` of an event, an action or an alert (``subject``) as one trigger sends it."""
    return "msg_" + digest(subject, trigger)


def batch_id(trigger: str, event_ids: Iterable[str]) -> str:
    """Return the ``webhook-id`` of several events that one trigger sends in one message."""
    return "msg_" + digest(trigger, *event_ids)


def digest(*parts: str) -> str:
    """Return a hash of texts, in hexadecimal."""
    joined = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:ID_LENGTH]
