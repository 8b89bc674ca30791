"""What requests changed: one line for each change that was made, whatever answer the caller got to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.simulator.account import Account
    from daemon.simulator.http import Request


@dataclass(frozen=True, slots=True)
class Effect:
    """One change. ``who`` is the id of the requester, or of the service that an event came to.

    ``detail`` is what tells it from others of its kind: a note's text, the new assignees, an incident's key.
    """

    seq: int
    at: datetime
    method: str
    path: str
    incident_id: str
    what: str
    who: str
    detail: str | None
    reopened: bool


def record(
    account: Account,
    request: Request,
    incident_id: str,
    what: str,
    who: str,
    *,
    detail: str | None = None,
    reopened: bool = False,
) -> None:
    """Write down one change that was made just now."""
    at, seq = account.log.now(), len(account.effects)
    account.effects.append(Effect(seq, at, request.method, request.path, incident_id, what, who, detail, reopened))
