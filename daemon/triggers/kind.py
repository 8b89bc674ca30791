"""What a trigger's file has to say about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.model import EventType


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of trigger: the event it is for, the filters it takes beside ``where``.

    ``log_entry_types`` are the records of GET /log_entries that give such an event, ``operation``
    is the connector's operation id, where the connector has one.
    """

    type: EventType
    log_entry_types: frozenset[str]
    help: str
    operation: str | None = None
    filters: tuple[str, ...] = ()
