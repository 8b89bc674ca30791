"""Responses to requests that never reach a handler: a page for a browser, a problem document for everybody else."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.api import problem_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from starlette.types import ASGIApp, Scope

    from daemon.page.application import PageApplication

PREFIX = "/v1"


class Refusals:
    """Chooses the kind of response by the path. ``own`` are the paths outside /v1 that are not the page's.

    ``page`` returns the page's application, or None while there is no page.
    """

    def __init__(self, page: Callable[[], PageApplication | None]) -> None:
        self._page = page
        self.own: Collection[str | None] = ()

    def response(
        self, scope: Scope, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> ASGIApp:
        """Return the response that says what is wrong."""
        page = self.page_of(scope)
        if page is None:
            return problem_documents.respond(status, detail, headers)
        return page.refusal(status, detail, headers or {})

    def unexpected(self, scope: Scope) -> ASGIApp:
        """Return the response to an unexpected error, which shows no details."""
        page = self.page_of(scope)
        if page is not None:
            return page.unexpected
        return problem_documents.respond(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected error (see the log)")

    def page_of(self, scope: Scope) -> PageApplication | None:
        """Return the page's application if there is a page, and the path is the page's."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return None if path == PREFIX or path.startswith(f"{PREFIX}/") or path in self.own else self._page()
