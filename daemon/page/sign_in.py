"""/sign-in and /sign-out."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from daemon.page import browser, sessions
from daemon.settings import Access
from daemon.storage import sessions as stored_sessions

if TYPE_CHECKING:
    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit

log = structlog.get_logger()

OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")  # no other host: browsers read // and /\ as one
USED = "This link has already been used or has expired. Sign in with the token."
WRONG = "Invalid token."


async def show(visit: Visit) -> Response:
    """Show the form, or go on if somebody is signed in already."""
    if visit.session is not None:
        return _onwards(visit, visit.query.get("next", ""))
    # What only looks at a link, as programs that preview messages do, must not use it up.
    ticket = None if visit.request.method == "HEAD" else visit.query.get("ticket")
    if ticket is not None and await _is_new(visit, ticket):
        return _begun(visit, Access.FULL, "")
    problem = None if ticket is None else USED
    return visit.page("sign_in.html", {"next": visit.query.get("next", ""), "problem": problem})


async def _is_new(visit: Visit, ticket: str) -> bool:
    """Return whether a ticket is valid, and use it up."""
    ticket_id = sessions.from_ticket(ticket, visit.site.api, visit.now)
    if ticket_id is None:
        return False

    def use(tx: sa.Connection) -> bool:
        is_used = stored_sessions.has_ended(tx, ticket_id)
        stored_sessions.end(tx, ticket_id, visit.site.database.now(tx))
        return not is_used

    return await visit.site.database.write(use)


async def sign_in(visit: Visit) -> Response:
    """Begin a session for the holder of a token."""
    fields = await visit.form()
    address, site = browser.address(visit.request), visit.site
    access = await site.attempts.check(address, fields.get("token", "").strip(), site.api)
    if access is None:
        log.warning("page.sign_in_refused", address=address)
        values = {"next": fields.get("next", ""), "problem": WRONG}
        return visit.page("sign_in.html", values, HTTPStatus.UNAUTHORIZED)
    return _begun(visit, access, fields.get("next", ""))


def _begun(visit: Visit, access: Access, location: str) -> Response:
    """Begin a session."""
    log.info("page.signed_in", address=browser.address(visit.request), access=access.value)
    response = _onwards(visit, location)
    set_cookie(response, visit, sessions.begin(access, visit.now))
    return response


async def sign_out(visit: Visit) -> Response:
    """End the session everywhere."""
    session = visit.session
    if session is not None:

        def end(tx: sa.Connection) -> None:
            stored_sessions.end(tx, session.id, visit.site.database.now(tx))

        await visit.site.database.write(end)
        visit.site.live.end(session.id)
    response = visit.see("sign-in")
    response.delete_cookie(sessions.cookie_name(visit.site.api), path=visit.cookie_path)
    return response


def set_cookie(response: Response, visit: Visit, session: sessions.Session) -> None:
    """Let the browser keep a session."""
    api = visit.site.api
    visit.keep_cookie(response, sessions.cookie_name(api), sessions.to_cookie(session, api), sessions.LONGEST_IDLE)


def _onwards(visit: Visit, location: str) -> Response:
    """Return a redirection to what somebody wanted to see before signing in."""
    response = visit.see("")
    if OWN_PATH.fullmatch(location):
        response.headers["location"] = visit.site.api.root_path + location
    return response


ROUTES = (("GET", "/sign-in", show), ("POST", "/sign-in", sign_in), ("POST", "/sign-out", sign_out))
