"""One request for a page: what it asks for, what it may do, and the response."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from starlette.responses import HTMLResponse, RedirectResponse, Response

from daemon.page import browser, rendering
from daemon.settings import Access

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from starlette.requests import Request

    from daemon.control import Current, Services
    from daemon.page.choices import Choices
    from daemon.page.fragments import Fragments
    from daemon.page.live import Live
    from daemon.page.sample_results import SampleResults
    from daemon.page.sessions import Session, SignInAttempts
    from daemon.settings import ApiSettings, Settings
    from daemon.storage.database import Clock, Database

FRAGMENT = "x-fragment"  # the script asks for a page without its frame
MOST_FIELDS = 64


@functools.lru_cache(8192)  # pages link to the same targets and triggers again and again
def _url(root: str, parts: tuple[object, ...], query: tuple[tuple[str, object], ...]) -> str:
    path = "/".join(quote(str(part), safe="") for part in parts)
    pairs = {name: value for name, value in query if value not in {None, ""}}
    return f"{root}/{path}" + (f"?{urlencode(pairs)}" if pairs else "")


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that all pages share."""

    database: Database
    current: Current
    attempts: SignInAttempts
    samples: SampleResults
    choices: Choices
    live: Live
    examining: asyncio.Lock  # one run of the doctor at a time
    fragments: Fragments
    clock: Clock

    @property
    def settings(self) -> Settings:
        """Return the configuration in force."""
        return self.current.settings

    @property
    def services(self) -> Services:
        """Return the parts of the daemon that work for it."""
        return self.current.services

    @property
    def api(self) -> ApiSettings:
        """Return what it says about the server; without a server there are no visits."""
        assert self.settings.api is not None  # noqa: S101 - for the type checker: a reload cannot remove it
        return self.settings.api


@dataclass(frozen=True, slots=True)
class Visit:
    """A request. ``session`` is None before signing in."""

    site: Site
    request: Request
    session: Session | None
    now: datetime

    @property
    def may_change(self) -> bool:
        """Return whether this person sees buttons."""
        return self.session is not None and self.session.access is Access.FULL

    @property
    def section(self) -> str:
        """Return the first part of the path, which the navigation highlights."""
        return self.request.url.path.removeprefix(self.site.api.root_path).split("/")[1]

    @property
    def query(self) -> dict[str, str]:
        """Return the filters in the URL; empty ones are left out, as if they were not there."""
        return {name: value for name, value in self.request.query_params.items() if value}

    def path(self, name: str = "id") -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def number(self) -> int:
        """Return the number in the path; 0, which nothing has, for anything else."""
        text = self.path()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(2**63)) else 0

    @property
    def cookie_path(self) -> str:
        """Return the path below which browsers send the page's cookies."""
        return self.site.api.root_path or "/"

    def keep_cookie(self, response: Response, name: str, value: str, kept: timedelta) -> None:
        """Let the browser keep a cookie, which scripts cannot read and other sites cannot make it send."""
        response.set_cookie(
            name,
            value,
            max_age=int(kept.total_seconds()),
            path=self.cookie_path,
            secure=browser.is_secure(self.request),
            httponly=True,
            samesite="strict",
        )

    async def form(self) -> dict[str, str]:
        """Return the fields of a form. Browsers send each line break as CR and LF."""
        body = (await self.request.body()).decode("utf-8", "replace").replace("%0D%0A", "%0A")
        try:
            return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS))
        except ValueError:
            return {}

    def url(self, *parts: object, **query: object) -> str:
        """Return the URL of a page: its path in parts, and its query without what is None or empty."""
        return _url(self.site.api.root_path, parts, tuple(query.items()))

    def page(self, template: str, values: Mapping[str, Any], status: int = HTTPStatus.OK) -> HTMLResponse:
        """Return a page, or only its content if the script asks for that."""
        frame = "fragment.html" if FRAGMENT in self.request.headers else "frame.html"
        html = rendering.render(template, {"visit": self, "url": self.url, "frame": frame, **values})
        return HTMLResponse(html, status)

    async def done(self, *parts: object) -> Response:
        """Return a redirection to the page whose form was sent: the overview, or the page with this path."""
        fields = await self.form()
        return self.see("") if fields.get("back") == "overview" else self.see(*parts)

    def see(self, *parts: object, **query: object) -> Response:
        """Return a redirection to a page, after a form was handled."""
        return RedirectResponse(self.url(*parts, **query), HTTPStatus.SEE_OTHER)
