"""Sessions as pure values, and the waits after wrong tokens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from pydantic import SecretStr

from daemon.page import sessions
from daemon.settings import Access, ApiSettings
from tests.conftest import START

API = ApiSettings("127.0.0.1", 80, SecretStr("full-token"), SecretStr("read-token"))


@pytest.mark.parametrize("access", Access)
def test_a_cookie_gives_back_its_session(access: Access) -> None:
    session = sessions.begin(access, START)
    assert sessions.from_cookie(sessions.to_cookie(session, API), API, START) == session


def test_a_session_ends_after_twelve_hours_without_use() -> None:
    cookie = sessions.to_cookie(sessions.begin(Access.FULL, START), API)
    assert sessions.from_cookie(cookie, API, START + timedelta(hours=11, minutes=59)) is not None
    assert sessions.from_cookie(cookie, API, START + timedelta(hours=12)) is None


def test_another_token_ends_the_sessions_of_the_old_one_and_no_others() -> None:
    changed = ApiSettings("127.0.0.1", 80, SecretStr("another"), API.read_token)
    without = ApiSettings("127.0.0.1", 80, API.token)
    full, read = (sessions.to_cookie(sessions.begin(access, START), API) for access in Access)
    assert sessions.from_cookie(full, changed, START) is None
    assert sessions.from_cookie(read, changed, START) is not None
    assert sessions.from_cookie(read, without, START) is None


def test_no_character_of_a_cookie_can_be_changed() -> None:
    cookie = sessions.to_cookie(sessions.begin(Access.READ, START), API)
    for index, character in enumerate(cookie):
        forged = cookie[:index] + ("a" if character != "a" else "b") + cookie[index + 1 :]
        assert sessions.from_cookie(forged, API, START) is None
    assert sessions.from_cookie(cookie.replace("read", "full"), API, START) is None
    assert sessions.from_cookie("", API, START) is None


@dataclass
class Waits:
    """A clock that only waiting moves on."""

    now: float = 0.0
    waited: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def test_wrong_tokens_from_one_address_wait_longer_and_longer_and_the_right_one_still_works() -> None:
    waits = Waits()
    attempts = sessions.SignInAttempts(lambda: waits.now, waits.sleep)
    for _ in range(12):
        assert await attempts.check("10.0.0.1", "wrong", API) is None
    assert waits.waited == [0.25, 0.5, 1, 2, 4, 4, 4]
    assert await attempts.check("10.0.0.2", "wrong", API) is None
    assert len(waits.waited) == 7, "another address waits for nothing"
    assert await attempts.check("10.0.0.1", "full-token", API) is Access.FULL
    assert await attempts.check("10.0.0.1", "read-token", API) is Access.READ
    assert len(waits.waited) == 8, "a right token clears the record"


async def test_attempts_from_one_address_wait_one_after_the_other_and_few_at_once() -> None:
    waits = Waits()
    attempts = sessions.SignInAttempts(lambda: waits.now, waits.sleep)
    tokens = ["wrong"] * 100 + ["full-token"]
    results = await asyncio.gather(*(attempts.check("10.0.0.1", token, API) for token in tokens))
    assert set(results) == {None}
    assert len(waits.waited) < 10


async def test_an_address_is_forgotten_after_a_while() -> None:
    waits = Waits()
    attempts = sessions.SignInAttempts(lambda: waits.now, waits.sleep)
    for _ in range(5):
        await attempts.check("10.0.0.1", "wrong", API)
    waits.now += 1000
    await attempts.check("10.0.0.1", "wrong", API)
    assert waits.waited == []


def test_a_ticket_is_valid_for_an_hour_and_for_one_token() -> None:
    ticket = sessions.ticket(API, START)
    ticket_id = sessions.from_ticket(ticket, API, START + timedelta(minutes=59))
    assert ticket_id is not None
    assert sessions.from_ticket(ticket, API, START + timedelta(hours=1)) is None
    assert sessions.from_ticket(ticket, ApiSettings("127.0.0.1", 80, SecretStr("another")), START) is None
    assert sessions.from_cookie(f"full.{ticket}", API, START) is None, "it is no cookie"
