"""Sessions: signed cookies that are bound to the token, and slower answers to repeated wrong tokens."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from daemon.settings import Access

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.settings import ApiSettings

LONGEST_IDLE = timedelta(hours=12)
RENEWED_AFTER = timedelta(minutes=1)
COOKIE = re.compile(r"(full|read)\.([A-Za-z0-9_-]{22})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
TICKET = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
TICKET_VALID = timedelta(hours=1)
PURPOSE = b"pagerelay session"
NAME_LENGTH = 8  # of what distinguishes the names of cookies


@dataclass(frozen=True, slots=True)
class Session:
    """A person's session. ``used_at`` is when its cookie was written."""

    id: str
    access: Access
    used_at: datetime


def begin(access: Access, now: datetime) -> Session:
    """Return a new session."""
    return Session(secrets.token_urlsafe(16), access, now)


def cookie_name(api: ApiSettings) -> str:
    """Return the name of the cookie, which is the same for daemons with the same token.

    Cookies ignore ports: with one name for all, signing in to a daemon would sign out of another on the same host.
    """
    return f"pagerelay_session_{_signature('cookie name', Access.FULL, api)[:NAME_LENGTH]}"


def to_cookie(session: Session, api: ApiSettings) -> str:
    """Return the cookie of a session."""
    text = f"{session.access}.{session.id}.{int(session.used_at.timestamp())}"
    return f"{text}.{_signature(text, session.access, api)}"


def from_cookie(cookie: str, api: ApiSettings, now: datetime) -> Session | None:
    """Return the session of a cookie; None if it is forged, too old, or was made with another token."""
    match = COOKIE.fullmatch(cookie)
    if match is None:
        return None
    access = Access(match[1])
    text = cookie.rpartition(".")[0]
    expected = _signature(text, access, api)
    if not expected or not hmac.compare_digest(match[4], expected):
        return None
    used_at = datetime.fromtimestamp(int(match[3]), UTC)
    return Session(match[2], access, used_at) if now - used_at < LONGEST_IDLE else None


def ticket(api: ApiSettings, now: datetime) -> str:
    """Return a ticket with which a link signs in once, with full access."""
    text = f"{secrets.token_urlsafe(16)}.{int((now + TICKET_VALID).timestamp())}"
    return f"{text}.{_signature(f'ticket.{text}', Access.FULL, api)}"


def from_ticket(ticket: str, api: ApiSettings, now: datetime) -> str | None:
    """Return the id of a valid ticket, which must not be used twice; otherwise None."""
    match = TICKET.fullmatch(ticket)
    if match is None or not hmac.compare_digest(
        match[3], _signature(f"ticket.{match[1]}.{match[2]}", Access.FULL, api)
    ):
        return None
    return match[1] if now.timestamp() < int(match[2]) else None


def _signature(text: str, access: Access, api: ApiSettings) -> str:
    """Return the signature of a cookie with a key that is derived from the token; empty if there is no such token."""
    token = api.token if access is Access.FULL else api.read_token
    if token is None:
        return ""
    key = hmac.digest(token.get_secret_value().encode(), PURPOSE, "sha256")
    return base64.urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).decode().rstrip("=")


FREE_FAILURES = 5
FIRST_DELAY = 0.25  # seconds
LONGEST_DELAY = 4.0
FORGOTTEN_AFTER = 900.0
MOST_ADDRESSES = 10_000
MOST_AT_ONCE = 8


@dataclass(slots=True)
class _Address:
    failures: int = 0
    failed_at: float = float("-inf")
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class SignInAttempts:
    """Wrong tokens by address. After a few, each further attempt from there waits longer, one after the other."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    async def check(self, address: str, token: str, api: ApiSettings) -> Access | None:
        """Return what a token allows. Waits first if there were wrong tokens; None at once if too many wait."""
        known = self._of(address)
        if known.waiting >= MOST_AT_ONCE:
            return None
        known.waiting += 1
        try:
            async with known.turn:
                if self._clock() - known.failed_at > FORGOTTEN_AFTER:
                    known.failures = 0
                if known.failures >= FREE_FAILURES:
                    await self._sleep(min(FIRST_DELAY * 2 ** min(known.failures - FREE_FAILURES, 10), LONGEST_DELAY))
                access = api.access_of(token)
                known.failures = 0 if access is not None else known.failures + 1
                known.failed_at = self._clock() if access is None else known.failed_at
                return access
        finally:
            known.waiting -= 1

    def is_full(self, address: str) -> bool:
        """Return whether so many attempts from an address wait that the next one is refused."""
        return address in self._addresses and self._addresses[address].waiting >= MOST_AT_ONCE

    def _of(self, address: str) -> _Address:
        if address not in self._addresses:
            while len(self._addresses) >= MOST_ADDRESSES:
                self._addresses.popitem(last=False)
            self._addresses[address] = _Address()
        self._addresses.move_to_end(address)
        return self._addresses[address]
