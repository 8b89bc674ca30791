"""/v1/reload: reading the configuration again."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException

from daemon.api import problem_documents
from daemon.api.access import Credentials  # noqa: TC001 - FastAPI reads the annotations
from daemon.settings import Access

if TYPE_CHECKING:
    from daemon.api.access import Admit
    from daemon.control import Current

ANSWERS: dict[int | str, dict[str, Any]] = {
    409: {"model": problem_documents.Problem, "description": "A change needs a restart"},
    422: {"model": problem_documents.Problem, "description": "The configuration has mistakes: ``mistakes`` lists them"},
}


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """``changed`` are the dotted paths of what differs, such as targets.ops.url; ``applied``: it has taken effect."""

    changed: list[str]
    applied: bool


def router(current: Current, admit: Admit) -> APIRouter:
    """Return the route. ``admit`` knows the tokens in force; this route also accepts the one that the file has now."""
    routes = APIRouter(tags=["reload"])

    async def admit_new(request: Request, credentials: Credentials) -> None:
        token = credentials.credentials if credentials is not None else ""
        api, reloads = current.settings.api, current.services.reloads
        known = None if api is None else api.access_of(token)
        if known is not Access.FULL and token and reloads is not None and await reloads.admits(token):
            return
        await admit(request, credentials)

    @routes.post("/reload", responses=ANSWERS, dependencies=[Depends(admit_new)])
    async def reload(
        dry_run: Annotated[bool, Query(description="Only check, and report what would change")] = False,  # noqa: FBT002 - a query parameter
    ) -> ReloadResult:
        """Read the configuration again: all of it takes effect, or with a mistake nothing."""
        reloads = current.services.reloads
        if reloads is None:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "this server cannot reload: it runs without a daemon")
        result = await reloads.reload(dry_run=dry_run)
        return ReloadResult(list(result.changed), result.applied)

    return routes
