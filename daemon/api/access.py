"""Access to /v1 by bearer token."""

from __future__ import annotations

import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from daemon.api import problem_documents
from daemon.page import browser
from daemon.page.sessions import LONGEST_DELAY, SignInAttempts
from daemon.settings import Access

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.control import Current

log = structlog.get_logger()

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": problem_documents.Problem, "description": "The token is missing or wrong"},
    429: {"model": problem_documents.Problem, "description": "Too many wrong tokens from this address"},
    403: {"model": problem_documents.Problem, "description": "No token is configured, or the token is read-only"},
}

LOG_SECONDS = 60.0  # between two lines about one address
MOST_ADDRESSES = 1000
READING = ("GET", "HEAD")

_scheme = HTTPBearer(auto_error=False, description="The value of api.token in the configuration")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]


Admit: TypeAlias = "Callable[[Request, HTTPAuthorizationCredentials | None], Awaitable[None]]"


class WrongTokens:
    """The log of wrong tokens: one line a minute per address, with how many there were since the one before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()  # by address: the last line's time, and since

    def add(self, address: str, path: str) -> None:
        """Count a wrong token from an address."""
        now = self._clock()
        logged_at, since = self._seen.get(address, (float("-inf"), 0))
        if now - logged_at < LOG_SECONDS:
            self._seen[address] = logged_at, since + 1
            return
        log.warning("request.wrong_token", address=address, path=path, more_since_last_line=since)
        self._seen[address] = now, 0
        self._seen.move_to_end(address)
        if len(self._seen) > MOST_ADDRESSES:
            self._seen.popitem(last=False)


def bearer(current: Current, attempts: SignInAttempts) -> Admit:
    """Return a dependency that requires the token, or the read token for GET; without a token it rejects everybody.

    After a few wrong tokens, each further one from that address waits longer. A right one does not wait.
    """
    wrong_tokens = WrongTokens()

    async def admit(request: Request, credentials: Credentials) -> None:
        settings = current.settings.api
        if settings is None or settings.token is None:
            detail = "no token is configured, so /v1 is disabled (set api.token in the configuration)"
            raise HTTPException(HTTPStatus.FORBIDDEN, detail)
        token_text = credentials.credentials if credentials is not None else ""
        address = browser.address(request)
        if token_text and attempts.is_full(address):
            detail = "too many wrong tokens from this address (wait until the others are answered)"
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": f"{LONGEST_DELAY:.0f}"})
        access = settings.access_of(token_text)
        if access is None:
            if token_text:
                wrong_tokens.add(address, request.url.path)
                await attempts.check(address, token_text, settings)
            detail = "invalid token" if token_text else "a token is required (Authorization: Bearer …)"
            raise HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})
        if access is Access.READ and request.method not in READING:
            raise HTTPException(HTTPStatus.FORBIDDEN, "the read token cannot change anything (use api.token)")

    return admit
