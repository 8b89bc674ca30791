"""The parts of the running daemon that requests reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.control.changes import Changes
from daemon.control.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from daemon.control.reloads import Reloads
    from daemon.pagerduty import Client


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the daemon that the API and the page use.

    ``clients`` read pick-lists, by connection, for at most ``patience``. ``wake`` is called with the connection of a
    new action, ``wake_targets`` with targets that may have something to send, ``wake_replays`` when a replay was
    created or cancelled. The executors call ``waiting.notify`` when an action has made progress. ``changes`` tells open
    pages what this process has changed. ``hints`` are what is probably not meant so in the configuration. ``reloads``
    reads it again.
    """

    clients: Mapping[str, Client] = field(default_factory=dict)
    wake: Callable[[str], None] = lambda _connection: None
    waiting: Waiting = field(default_factory=Waiting)
    patience: timedelta = timedelta(seconds=20)
    wake_targets: Callable[[Iterable[str]], None] = lambda _names: None
    wake_replays: Callable[[], None] = lambda: None
    changes: Changes = field(default_factory=Changes)
    hints: Sequence[str] = ()
    reloads: Reloads | None = None
