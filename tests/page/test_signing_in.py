"""Signing in and out, what a session opens, and what it does not."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import SecretStr

from daemon import api
from daemon.page import sessions
from daemon.storage import schema
from tests.harness import sample_data
from tests.page.conftest import READ_TOKEN
from tests.page.person import visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from tests.conftest import ManualClock
    from tests.page.person import Person

PAGES = (
    "/",
    "/targets/ops",
    "/targets/chat",
    "/connections/acme",
    "/connections/beta",
    "/triggers/new",
    "/events",
    "/events?type=incident.triggered&connection=acme",
    "/events/evt_1",
    "/incidents",
    "/incidents/P2",
    "/deliveries",
    "/deliveries?target=ops&state=dead",
    *(f"/deliveries/{number}" for number in range(1, 6)),
    "/actions",
    "/actions?state=failed",
    *(f"/actions/act_{number}" for number in range(1, 6)),
    "/actions/new",
    "/actions/new?operation=CreateIncident&connection=acme",
    "/replays",
    "/doctor",
)
CHANGES = (
    "/targets/ops/pause",
    "/targets/ops/resume",
    "/targets/ops/test",
    "/deliveries/2/redeliver",
    "/replays",
    "/replays/1/cancel",
    "/actions/ResolveIncident",
    "/doctor",
)


async def test_somebody_without_a_session_is_sent_to_sign_in_and_back_afterwards(samples_app: FastAPI) -> None:
    async with visiting(samples_app, None) as person:
        response = await person.http.get("/targets/ops?test=x")
        assert (response.status_code, response.headers["location"]) == (
            303,
            "/sign-in?next=%2Ftargets%2Fops%3Ftest%3Dx",
        )
        (form,) = await person.forms(response.headers["location"])
        response = await person.send(form, token=sample_data.TOKEN)
        assert (response.status_code, response.headers["location"]) == (303, "/targets/ops?test=x")
        assert "ops" in await person.read(response.headers["location"])


@pytest.mark.parametrize(
    "place", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "x"]
)
async def test_signing_in_never_leads_to_another_site(samples_app: FastAPI, place: str) -> None:
    async with visiting(samples_app, None) as person:
        assert (await person.sign_in(next=place)).headers["location"] == "/"


async def test_a_wrong_token_gives_one_text_and_no_session(app: FastAPI) -> None:
    async with visiting(app, None) as person:
        texts = set()
        for token in ("", "wrong", sample_data.TOKEN[:-1], sample_data.TOKEN.upper(), "\u00e9" * 5000):
            response = await person.sign_in(token)
            assert (response.status_code, "set-cookie" in response.headers) == (401, False)
            texts.add(response.text)
        assert len(texts) == 1
        assert (await person.http.get("/")).status_code == 303


async def test_the_cookie_is_for_this_site_only_and_not_for_scripts(samples_app: FastAPI) -> None:
    async with visiting(samples_app, None) as person:
        cookie = (await person.sign_in()).headers["set-cookie"]
        assert re.search(r"; HttpOnly; Max-Age=43200; Path=/; SameSite=strict$", cookie)
        assert sample_data.TOKEN not in cookie
        secure = await person.http.post(
            "/sign-in", data={"token": sample_data.TOKEN}, headers={"x-forwarded-proto": "https"}
        )
        assert "; Secure" in secure.headers["set-cookie"]


async def test_a_proxy_elsewhere_is_not_believed(samples_app: FastAPI) -> None:
    transport = httpx.ASGITransport(samples_app, client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        headers = {"x-forwarded-proto": "https"}
        answer = await http.post("/sign-in", data={"token": sample_data.TOKEN}, headers=headers)
        assert "; Secure" not in answer.headers["set-cookie"]


async def test_the_cookie_does_not_open_the_api(visitor: Person) -> None:
    assert (await visitor.http.get("/v1/status")).status_code == 401
    assert (await visitor.http.post("/v1/targets/ops/pause")).status_code == 401


async def test_signing_out_ends_the_session_wherever_its_cookie_is(person: Person) -> None:
    (cookie,) = person.http.cookies.jar
    response = await person.press("/", "Sign out")
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    assert list(person.http.cookies.jar) == []
    old_cookie = {"cookie": f"{cookie.name}={cookie.value}"}
    assert (await person.http.get("/", headers=old_cookie)).status_code == 303


async def test_signing_in_to_another_daemon_on_the_same_host_keeps_the_session(
    person: Person, database: Database, settings: Settings
) -> None:
    assert settings.api is not None
    other_api = dataclasses.replace(settings.api, token=SecretStr("another-token-of-the-api"), read_token=None)
    other = api.create(database, api.Current(dataclasses.replace(settings, api=other_api)))
    async with visiting(other, None) as visitor:
        visitor.http.cookies = person.http.cookies  # a browser has one jar for all ports of a host
        assert (await visitor.sign_in("another-token-of-the-api")).status_code == 303
        person.http.cookies = visitor.http.cookies
        assert len(list(person.http.cookies.jar)) == 2
        for each in (person, visitor):
            await each.read("/")
        await visitor.press("/", "Sign out")
    person.http.cookies = visitor.http.cookies
    await person.read("/")


async def lines_to(lines: AsyncIterator[str], start: str) -> AsyncIterator[str]:
    """Yield the lines to the first one that starts like this."""
    async for line in lines:
        yield line
        if line.startswith(start):
            return


async def test_a_session_that_ended_gets_no_fragments_either(
    database: Database, settings: Settings, clock: ManualClock
) -> None:
    database.write_now(sample_data.fill, clock.now)
    async with (
        asyncio.timeout(60),
        api.serving(database, api.Current(settings)) as address,
        httpx.AsyncClient(base_url=str(address), timeout=30) as http,
    ):
        await http.post("/sign-in", data={"token": sample_data.TOKEN})
        (kept,) = http.cookies.jar
        cookie = {"cookie": f"{kept.name}={kept.value}"}
        async with http.stream("GET", "/live") as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            database.write_now(sample_data.insert, schema.events, sample_data.event(900, clock.now))
            signal = [line async for line in lines_to(lines, "data: ")][-1].removeprefix("data: ")
            fragment = cookie | {"x-fragment": signal}
            assert (await http.get("/", headers=fragment)).status_code == 200
            await http.post("/sign-out")
            assert (await http.get("/", headers=fragment)).status_code == 303


async def test_a_changed_token_ends_the_session(person: Person, database: Database, settings: Settings) -> None:
    (cookie,) = person.http.cookies.jar
    assert settings.api is not None
    changed = dataclasses.replace(settings, api=dataclasses.replace(settings.api, token=SecretStr("another")))
    async with visiting(api.create(database, api.Current(changed)), None) as other:
        response = await other.http.get("/", headers={"cookie": f"{cookie.name}={cookie.value}"})
        assert response.headers["location"] == "/sign-in"


async def test_every_page_is_whole_without_a_script(visitor: Person) -> None:
    for path in PAGES:
        text = await visitor.read(path)
        assert len(re.findall(r"<h1[ >]", text.partition("<main")[2])) == 1, path


async def test_the_read_token_shows_every_page_without_buttons(reader: Person) -> None:
    for path in PAGES:
        assert [form.action for form in await reader.forms(path) if form.method == "post"] == ["/sign-out"], path


async def test_the_read_token_changes_nothing(reader: Person) -> None:
    for path in CHANGES:
        response = await reader.http.post(path)
        assert (response.status_code, "read token" in response.text) == (403, True), path


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
        {"origin": "http://["},
    ],
)
async def test_a_form_of_another_site_changes_nothing(visitor: Person, headers: dict[str, str]) -> None:
    for path in ("/targets/ops/pause", "/sign-out", "/sign-in"):
        assert (await visitor.http.post(path, headers=headers)).status_code == 403
    assert "paused" not in await visitor.read("/targets/ops")


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "same-origin"}, {"origin": "http://localhost"}, {}])
async def test_a_form_of_the_page_is_accepted(person: Person, headers: dict[str, str]) -> None:
    assert (await person.http.post("/targets/ops/pause", headers=headers)).status_code == 303


async def test_there_is_no_page_without_a_token_or_where_it_is_off(database: Database, settings: Settings) -> None:
    assert settings.api is not None
    for off in (
        dataclasses.replace(settings.api, page=False),
        dataclasses.replace(settings.api, token=None, read_token=None),
    ):
        async with visiting(api.create(database, api.Current(dataclasses.replace(settings, api=off))), None) as person:
            for path in ("/", "/sign-in", "/static/page.js"):
                response = await person.http.get(path)
                assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_below_a_path_prefix_every_address_has_it(database: Database, app: FastAPI, settings: Settings) -> None:
    del app  # it has filled the database
    assert settings.api is not None
    below = dataclasses.replace(settings, api=dataclasses.replace(settings.api, root_path="/relay"))
    async with visiting(api.create(database, api.Current(below)), None) as person:
        assert (await person.http.get("/targets/ops")).headers["location"].startswith("/relay/sign-in?next=%2Ftargets")
        response = await person.http.post("/relay/sign-in", data={"token": sample_data.TOKEN, "next": "/targets/ops"})
        assert (response.headers["location"], "Path=/relay;" in response.headers["set-cookie"]) == (
            "/relay/targets/ops",
            True,
        )
        text = await person.read("/relay/targets/ops")
        links = re.findall(r'(?:href|src|action)="(?!#)([^"]*)"', text)
        assert len(links) > 10
        assert [link for link in links if not link.startswith("/relay/")] == []


async def test_the_read_token_is_not_the_token(samples_app: FastAPI) -> None:
    assert READ_TOKEN != sample_data.TOKEN
    async with visiting(samples_app, READ_TOKEN) as person:
        assert "read only" in await person.read("/")


async def test_a_link_with_a_ticket_signs_in_once(app: FastAPI, settings: Settings, database: Database) -> None:
    assert settings.api is not None
    place = f"/sign-in?ticket={sessions.ticket(settings.api, database.clock())}"
    async with visiting(app, None) as first, visiting(app, None) as second:
        assert (await second.http.head(place)).status_code == 200, "looking at a link does not use it up"
        assert (await first.http.get(place)).headers["location"] == "/"
        assert "Sign out" in await first.read("/")
        assert "has already been used" in await second.read(place)
        assert (await second.http.get("/")).status_code == 303
