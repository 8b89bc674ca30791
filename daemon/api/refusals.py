"""Responses to requests that never reach a handler: a page for a browser, a problem document for everybody else."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.api import problem_documents

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.types import ASGIApp, Scope

    from daemon.page.application import PageApplication

PREFIX = "/v1"


class Refusals:
    """Chooses the kind of response by the path. ``own`` are the paths outside /v1 that are not the page's."""

    def __init__(self, page: PageApplication | None) -> None:
        self._page = page
        self.own: Collection[str | None] = ()

    def response(
        self, scope: Scope, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> ASGIApp:
        """Return the response that says what is wrong."""
        if self._page is None or not self.is_of_page(scope):
            return problem_documents.respond(status, detail, headers)
        return self._page.refusal(status, detail, headers or {})

    def unexpected(self, scope: Scope) -> ASGIApp:
        """Return the response to an unexpected error, which shows no details."""
        if self._page is not None and self.is_of_page(scope):
            return self._page.unexpected
        return problem_documents.respond(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected error (see the log)")

    def is_of_page(self, scope: Scope) -> bool:
        """Return whether a path is the page's, if there is one."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return path != PREFIX and not path.startswith(f"{PREFIX}/") and path not in self.own
