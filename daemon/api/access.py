"""Access to /v1 by bearer token."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from daemon.api import problem_documents
from daemon.settings import Access

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.settings import ApiSettings

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": problem_documents.Problem, "description": "The token is missing or wrong"},
    403: {"model": problem_documents.Problem, "description": "No token is configured, or it may only read"},
}

READING = ("GET", "HEAD")

_scheme = HTTPBearer(auto_error=False, description="The value of api.token in the configuration")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]


def bearer(settings: ApiSettings | None) -> Callable[[Request, HTTPAuthorizationCredentials | None], None]:
    """Return a dependency that requires the token, or the read token for GET; without a token it rejects everybody."""

    def admit(request: Request, credentials: Credentials) -> None:
        if settings is None or settings.token is None:
            detail = "no token is configured, so /v1 is disabled (set api.token in the configuration)"
            raise HTTPException(HTTPStatus.FORBIDDEN, detail)
        token_text = credentials.credentials if credentials is not None else ""
        access = settings.access_of(token_text)
        if access is None:
            detail = "invalid token" if token_text else "a token is required (Authorization: Bearer …)"
            raise HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})
        if access is Access.READ and request.method not in READING:
            raise HTTPException(HTTPStatus.FORBIDDEN, "the read token may change nothing (use api.token)")

    return admit
