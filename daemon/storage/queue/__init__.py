"""Messages and deliveries, stored. Plain functions on an open transaction."""

from __future__ import annotations

from daemon.storage.queue.claims import Claim, claim
from daemon.storage.queue.messages import (
    NewMessage,
    enqueue,
    enqueue_action,
    enqueue_alert,
    ensure_targets,
    load,
    needed_events,
    prune,
    stranded,
)
from daemon.storage.queue.results import Result, give_back, record, release, strangers
from daemon.storage.queue.standing import (
    HOPELESS,
    Note,
    Standing,
    expire,
    free_probes,
    hurry,
    note_targets,
    pause,
    paused,
    resume,
)
from daemon.storage.queue.taking import BEHIND_RUNNING, Wanted

__all__ = [
    "BEHIND_RUNNING",
    "HOPELESS",
    "Claim",
    "NewMessage",
    "Note",
    "Result",
    "Standing",
    "Wanted",
    "claim",
    "enqueue",
    "enqueue_action",
    "enqueue_alert",
    "ensure_targets",
    "expire",
    "free_probes",
    "give_back",
    "hurry",
    "load",
    "needed_events",
    "note_targets",
    "pause",
    "paused",
    "prune",
    "record",
    "release",
    "resume",
    "stranded",
    "strangers",
]
