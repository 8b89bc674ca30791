"""The effects of requests: one line for each change that was made, whatever response the caller received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.simulator.incident import Effect

if TYPE_CHECKING:
    from daemon.simulator.account import Account
    from daemon.simulator.http import SimRequest


def record(
    account: Account,
    request: SimRequest,
    incident_id: str,
    what: str,
    who: str,
    *,
    detail: str | None = None,
    reopened: bool = False,
) -> None:
    """Record one change that was just made."""
    at, seq = account.log.now(), len(account.effects)
    account.effects.append(Effect(seq, at, request.method, request.path, incident_id, what, who, detail, reopened))
