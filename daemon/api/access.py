"""Who may use /v1: whoever knows the token."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from daemon.api import problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": problems.Problem, "description": "The token is missing or wrong"},
    403: {"model": problems.Problem, "description": "No token is configured"},
}

_scheme = HTTPBearer(auto_error=False, description="The token that the configuration names as api.token")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]


def bearer(token: SecretStr | None) -> Callable[[HTTPAuthorizationCredentials | None], None]:
    """A dependency that lets nobody pass without ``token``; without a token nobody at all."""
    expected = token.get_secret_value().encode() if token is not None else b""

    def admit(credentials: Credentials) -> None:
        if not expected:
            detail = "no token is configured, so /v1 is closed (set api.token in the configuration)"
            raise HTTPException(HTTPStatus.FORBIDDEN, detail)
        given = credentials.credentials if credentials is not None else ""
        if not hmac.compare_digest(given.encode("latin-1"), expected):
            detail = "the token is wrong" if given else "a token is needed (Authorization: Bearer …)"
            raise HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})

    return admit
