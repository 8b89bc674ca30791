"""What holds for every answer: headers, errors as pages, hostile text inert, no secret."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
import structlog

from daemon import errors
from daemon.api import request_limits
from daemon.storage import schema
from tests.harness import sample_data
from tests.page.test_signing_in import PAGES

if TYPE_CHECKING:
    from fastapi import FastAPI

    from daemon.storage.database import Database
    from tests.page.person import Person

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
UNKNOWN = (
    "/events/nothing",
    "/incidents/PNOTHING",
    "/incidents/%1b",
    "/deliveries/77",
    "/deliveries/x",
    "/deliveries/99999999999999999999",
    "/replays/7",
    "/replays/-1",
    "/actions/nothing",
    "/actions/new?operation=Nothing",
    "/triggers/nobody",
    "/connections/nobody",
    "/nothing",
    "/targets/nobody",
    "/static/../page.py",
    "/static/nothing.js",
    "/%00",
    "/targets/%F0%9F%92%A5",
)


def is_safe(headers: dict[str, str]) -> bool:
    return (headers["content-security-policy"], headers["x-content-type-options"], headers["cache-control"]) == (
        POLICY,
        "nosniff",
        "no-store",
    )


async def test_every_answer_has_the_policy_and_is_not_stored(visitor: Person) -> None:
    for path in (*PAGES, *UNKNOWN, "/sign-in", "/static/page.css", "/targets/ops/pause"):
        assert is_safe(dict((await visitor.http.get(path)).headers)), path


async def test_the_api_s_answers_are_not_stored_or_sniffed_either(visitor: Person) -> None:
    for path in ("/v1/status", "/healthz", "/metrics", "/openapi.json"):
        headers = (await visitor.http.get(path)).headers
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


async def test_what_does_not_exist_is_a_page_with_status_404(visitor: Person) -> None:
    for path in UNKNOWN:
        response = await visitor.http.get(path)
        assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8"), path


@pytest.mark.parametrize(
    ("method", "path", "allowed", "sentence"),
    [
        ("GET", "/targets/ops/pause", "POST", "This address accepts only submitted forms."),
        ("PUT", "/targets/ops", "GET, HEAD", "This address can only be read."),
    ],
)
async def test_a_wrong_method_is_a_page_with_status_405(
    visitor: Person, method: str, path: str, allowed: str, sentence: str
) -> None:
    response = await visitor.http.request(method, path)
    assert response.status_code == 405
    assert ", ".join(sorted(response.headers["allow"].split(", "))) == allowed
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert sentence in response.text


async def test_who_asks_only_for_the_head_of_the_stream_gets_no_stream(visitor: Person) -> None:
    async with asyncio.timeout(10):
        response = await visitor.http.head("/live")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


async def test_a_form_that_is_too_large_is_a_page_with_a_sentence(visitor: Person) -> None:
    response = await visitor.http.post("/replays", content=b"x" * (request_limits.LARGEST_BODY + 1))
    assert (response.status_code, is_safe(dict(response.headers))) == (413, True)
    assert "<p>The body must not exceed 393216 bytes.</p>" in response.text


async def test_an_unknown_path_of_the_api_stays_a_problem_document(visitor: Person) -> None:
    for path in ("/v1", "/v1/nothing"):
        response = await visitor.http.get(path)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_an_unexpected_error_shows_no_details(person: Person, app: FastAPI, database: Database) -> None:
    del app
    database.write_now(lambda tx: tx.execute(sa.update(schema.events).values(payload="not JSON")))
    with structlog.testing.capture_logs() as logged:
        response = await person.http.get("/")
    assert response.status_code == 500
    assert [each["event"] for each in logged] == ["request.failed"]
    assert is_safe(dict(response.headers))
    assert "log has the details" in response.text
    assert "Traceback" not in response.text
    assert "JSON" not in response.text


@pytest.mark.parametrize("path", ["/", "/targets/ops", "/nothing", "/static/page.css"])
async def test_under_a_foreign_name_a_page_says_what_to_do(visitor: Person, path: str) -> None:
    response = await visitor.http.get(path, headers={"host": "evil.example"})
    assert (response.status_code, response.headers["content-type"]) == (421, "text/html; charset=utf-8")
    assert is_safe(dict(response.headers))
    assert "does not accept requests for this host name. Add the name to api.hosts." in response.text


@pytest.mark.parametrize("path", ["/v1", "/v1/status", "/healthz", "/metrics", "/openapi.json"])
async def test_under_a_foreign_name_programs_get_problem_documents(visitor: Person, path: str) -> None:
    response = await visitor.http.get(path, headers={"host": "evil.example"})
    assert (response.status_code, response.headers["content-type"]) == (421, "application/problem+json")


async def test_a_busy_server_says_so_on_a_page(visitor: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MOST_REQUESTS", 0)
    response = await visitor.http.get("/deliveries")
    assert (response.status_code, response.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert (is_safe(dict(response.headers)), response.headers["retry-after"]) == (True, "1")
    assert "Too many requests at once. Try again in a second." in response.text
    assert (await visitor.http.get("/v1/status")).headers["content-type"] == "application/problem+json"


async def test_without_its_database_the_page_says_so(person: Person, database: Database) -> None:
    def fail(*_: object, **__: object) -> None:
        raise errors.DatabaseError("the database is locked")

    database.read = fail  # type: ignore[method-assign,assignment]  # as in a long outage
    response = await person.http.get("/")
    assert (response.status_code, is_safe(dict(response.headers))) == (503, True)
    assert "The database is locked." in response.text


async def test_no_page_holds_a_secret(visitor: Person) -> None:
    for path in PAGES:
        text = await visitor.read(path)
        assert [canary for canary in sample_data.CANARIES if canary in text] == [], path


async def test_no_page_has_inline_scripts_or_styles_or_loads_anything_from_elsewhere(visitor: Person) -> None:
    for path in PAGES:
        text = await visitor.read(path)
        assert re.findall(r"<script(?! src=\"/static/page\.js\" defer></script>)", text) == []
        assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", text) == []
        assert re.findall(r"(?:src|href)=\"(?!/)(?!#)([^\"]*)\"", text) == []


async def test_hostile_text_is_inert(person: Person, database: Database) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7 * 7 }}"
    payload = {"incident": {"title": hostile}, "agent": {"summary": hostile}}
    database.write_now(lambda tx: tx.execute(sa.update(schema.events).values(payload=sample_data._text(payload))))
    database.write_now(lambda tx: tx.execute(sa.update(schema.targets).values(last_error=hostile)))
    for path in PAGES:
        text = await person.read(path)
        assert "<script>alert" not in text
        assert "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in await person.read("/")
    assert "{{ 7 * 7 }}" in await person.read("/")
