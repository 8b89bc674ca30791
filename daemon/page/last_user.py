"""The user in whose name somebody last acted, kept in a cookie so that the next form need not ask again. No secret."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit

COOKIE = "pagerelay_user"
PARAMETER = "userId"
KEPT = timedelta(days=90)


def read(visit: Visit, connection: str) -> str:
    """Return the id of the user of this browser's last action on a connection, or nothing."""
    name, _, user = unquote(visit.request.cookies.get(COOKIE, "")).partition(" ")
    return user if name == connection else ""


def keep(response: Response, visit: Visit, connection: str, user: str) -> None:
    """Let the browser keep the user of an action."""
    visit.keep_cookie(response, COOKIE, quote(f"{connection} {user}"), KEPT)
