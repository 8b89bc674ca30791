"""Access to /v1 by bearer token."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from daemon.api import problem_documents

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": problem_documents.Problem, "description": "The token is missing or wrong"},
    403: {"model": problem_documents.Problem, "description": "No token is configured"},
}

_scheme = HTTPBearer(auto_error=False, description="The value of api.token in the configuration")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]


def bearer(token: SecretStr | None) -> Callable[[HTTPAuthorizationCredentials | None], None]:
    """Return a dependency that requires ``token``; without a configured token it rejects everybody."""
    expected = token.get_secret_value().encode() if token is not None else b""

    def admit(credentials: Credentials) -> None:
        if not expected:
            detail = "no token is configured, so /v1 is disabled (set api.token in the configuration)"
            raise HTTPException(HTTPStatus.FORBIDDEN, detail)
        token_text = credentials.credentials if credentials is not None else ""
        if not hmac.compare_digest(token_text.encode("latin-1"), expected):
            detail = "invalid token" if token_text else "a token is required (Authorization: Bearer …)"
            raise HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})

    return admit
