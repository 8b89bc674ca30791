"""The page's application: its routes, who may use them, and its errors as HTML."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.routing import Route, Router

from daemon import errors
from daemon.page import (
    action,
    actions,
    browser,
    connection,
    deliveries,
    delivery,
    doctor,
    event,
    events,
    fragments,
    incident,
    incidents,
    live,
    new_action,
    overview,
    replay,
    replays,
    sessions,
    sign_in,
    static_files,
    target,
    targets,
    trigger,
    triggers,
)
from daemon.page.choices import Choices
from daemon.page.sample_results import SampleResults
from daemon.page.visit import FRAGMENT, Site, Visit
from daemon.settings import Access
from daemon.storage import sessions as stored_sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from daemon.control import Current
    from daemon.storage.database import Database

Handler: TypeAlias = "Callable[[Visit], Awaitable[Response]]"

SAFE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
PAGES = (
    overview,
    targets,
    target,
    connection,
    triggers,
    trigger,
    events,
    event,
    incidents,
    incident,
    deliveries,
    delivery,
    replays,
    replay,
    actions,
    new_action,  # before action: its path would be an id
    action,
    doctor,
    live,
)
OPEN = (sign_in, static_files)  # without a session


class PageApplication:
    """The page as an ASGI application; its policy is on every response."""

    def __init__(self, database: Database, current: Current) -> None:
        self._site = site = Site(
            database=database,
            current=current,
            attempts=sessions.SignInAttempts(time.monotonic),
            samples=SampleResults(),
            choices=Choices(database, current),
            live=live.Live(database, current.services.changes),
            examining=asyncio.Lock(),
            fragments=fragments.Fragments(time.monotonic),
            clock=database.clock,
        )
        routes = [
            Route(path, _endpoint(site, handler, is_open=module in OPEN), methods=[method])
            for module in (*PAGES, *OPEN)
            for method, path, handler in module.ROUTES
        ]
        handlers: dict[type[Exception], Callable[[Request, Exception], Response]] = {
            HTTPException: _failure(site, _http_error),
            errors.NotFound: _failure(site, _not_found),
            errors.UsageError: _failure(site, _unusable),
            errors.DatabaseError: _failure(site, _no_database),
        }
        self._app = ExceptionMiddleware(Router(routes, redirect_slashes=False, default=_no_page), handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        await self._app(scope, receive, _safely(send))

    async def unexpected(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request whose handling failed; the log has the details."""
        response = _failure(self._site, _unexpected)(Request(scope, receive), Exception())
        await response(scope, receive, _safely(send))

    def refusal(self, status: HTTPStatus, detail: str, headers: Mapping[str, str]) -> ASGIApp:
        """Return the page for a request that is not handled at all; whose it is, was not looked at."""

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            visit = Visit(self._site, Request(scope, receive), None, self._site.clock())
            values = {"title": status.phrase, "message": _remedied(detail)}
            response = visit.page("error.html", values, status)
            response.headers.update({**SAFE_HEADERS, **headers})
            await response(scope, receive, send)

        return respond


def _safely(send: Send) -> Send:
    """Return ``send`` with the content security policy and its like in every response."""

    async def send_safely(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(SAFE_HEADERS)
        await send(message)

    return send_safely


async def _no_page(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(HTTPStatus.NOT_FOUND)


def _endpoint(site: Site, handler: Handler, *, is_open: bool) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a handler, which lets only those in who may use it."""

    async def answer(request: Request) -> Response:
        session = await _session(site, request)
        visit = Visit(site, request, session, site.clock())
        if request.method == "POST" and browser.is_from_elsewhere(request):
            raise HTTPException(HTTPStatus.FORBIDDEN, "This request came from another site, so nothing was changed.")
        if is_open:
            return await handler(visit)
        if session is None:
            back = None if request.method == "POST" or FRAGMENT in request.headers else _relative(request)
            return visit.see("sign-in", next=back)
        if request.method == "POST" and session.access is not Access.FULL:
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "You signed in with the read token, which cannot change anything."
            )
        if request.method == "GET" and request.headers.get(FRAGMENT) == site.live.signal:
            key = site.live.signal, session.access, request.url.path, request.url.query
            response = await site.fragments.response(key, lambda: handler(visit))
        else:
            response = await handler(visit)
        if visit.now - session.used_at >= sessions.RENEWED_AFTER:
            sign_in.set_cookie(response, visit, sessions.Session(session.id, session.access, visit.now))
        return response

    return answer


async def _session(site: Site, request: Request) -> sessions.Session | None:
    session = sessions.from_cookie(request.cookies.get(sessions.cookie_name(site.api), ""), site.api, site.clock())
    if session is None:
        return None
    if request.headers.get(FRAGMENT) == site.live.signal and site.live.is_alive(session.id):
        return session
    return None if await site.database.read(stored_sessions.has_ended, session.id) else session


def _relative(request: Request) -> str | None:
    """Return what the browser asked for, below the root path; None for the overview."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    location = path + (f"?{request.url.query}" if request.url.query else "")
    return None if location == "/" else location


Explained: TypeAlias = "tuple[int, str, dict[str, str]]"


def _failure(site: Site, explain: Callable[[Exception], Explained]) -> Callable[[Request, Exception], Response]:
    """Return a handler that shows an error as a page."""

    def show(request: Request, error: Exception) -> Response:
        status, message, headers = explain(error)
        api = site.api
        session = sessions.from_cookie(request.cookies.get(sessions.cookie_name(api), ""), api, site.clock())
        visit = Visit(site, request, session, site.clock())
        response = visit.page("error.html", {"title": HTTPStatus(status).phrase, "message": message}, status)
        response.headers.update(headers)
        return response

    return show


def _not_allowed(allowed: str) -> str:
    return "This address can only be read." if "GET" in allowed else "This address accepts only submitted forms."


def _http_error(error: Exception) -> Explained:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker: registered for this class only
    message = error.detail
    if message == HTTPStatus(error.status_code).phrase:
        message = {
            HTTPStatus.NOT_FOUND: "There is no page at this address.",
            HTTPStatus.METHOD_NOT_ALLOWED: _not_allowed((error.headers or {}).get("Allow", "")),
        }.get(HTTPStatus(error.status_code), message)
    return error.status_code, _remedied(message), dict(error.headers or {})


def _unexpected(_error: Exception) -> Explained:
    return HTTPStatus.INTERNAL_SERVER_ERROR, "Something unexpected went wrong. The daemon's log has the details.", {}


def _not_found(error: Exception) -> Explained:
    return HTTPStatus.NOT_FOUND, _sentence(error), {}


def _unusable(error: Exception) -> Explained:
    return HTTPStatus.UNPROCESSABLE_ENTITY, _sentence(error), {}


def _no_database(error: Exception) -> Explained:
    return HTTPStatus.SERVICE_UNAVAILABLE, f"{_sentence(error)} Reload this page to try again.", {"Retry-After": "5"}


def _sentence(error: Exception) -> str:
    message = str(error)
    return f"{message[:1].upper()}{message[1:]}."


def _remedied(detail: str) -> str:
    """Return an error message with its remedy, which is in brackets, as two sentences."""
    problem, _, remedy = detail.rstrip(")").partition(" (")
    return " ".join(f"{each[:1].upper()}{each[1:].removesuffix('.')}." for each in (problem, remedy) if each)
