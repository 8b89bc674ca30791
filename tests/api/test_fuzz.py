"""Requests of every kind to every path of the API: each gets an answer that its description has, and never 500."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.client import client_of

if TYPE_CHECKING:
    from fastapi import FastAPI

REFUSED = {"400", "404", "405", "413", "422"}
ELSEWHERE = ("/test", "/reload")  # need targets and a daemon: sample deliveries and tests/app cover them
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "0", "1", "-1", "1e9", "9" * 30, "nan", "null", "acme", "ops", "new", "P1", "act_1", "evt_1", "pending",
         "2026-11-23T10:00:00Z", "2026-11-23", "\x00", "%00", "../..", "'; DROP TABLE events; --", "\u202e", "🔥"]
    ),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
KNOWN = st.sampled_from(["connection", "parameters", "notify", "since", "until", "trigger", "target", "state"])
PARAMETER = st.sampled_from(["incidentId", "userId", "note", "duration", "policyId", "service_key", "description"])
BODIES = st.one_of(
    JSON,
    st.dictionaries(KNOWN, JSON, max_size=4),
    st.fixed_dictionaries({"parameters": st.dictionaries(PARAMETER, JSON, max_size=4)}, optional={"connection": TEXTS}),
    st.fixed_dictionaries({"since": TEXTS}, optional={"until": TEXTS, "target": TEXTS, "trigger": TEXTS}),
)
RAW = st.one_of(st.binary(max_size=30), BODIES.map(lambda body: json.dumps(body).encode()))


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    """Return method, path and description of every operation."""
    paths = app.openapi()["paths"]
    return [
        (method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if not path.endswith(ELSEWHERE)
    ]


@st.composite
def requests(draw: st.DrawFn, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    """Return a request for an operation: the places and values that it has, and others."""
    url = re.sub(r"\{\w+\}", lambda _match: quote(draw(TEXTS) or "x", safe=""), path)
    names = [
        each["name"] for each in operation.get("parameters", ()) if each["in"] == "query" and each["name"] != "wait"
    ]
    query = draw(st.dictionaries(st.sampled_from([*names, "unknown"]), TEXTS, max_size=3))
    headers = draw(st.fixed_dictionaries({}, optional={"idempotency-key": st.text("ab!\x7f ", max_size=8)}))
    request: dict[str, Any] = {"url": url, "params": query, "headers": headers}
    if "requestBody" in operation:
        request["content"] = draw(RAW)
        request["headers"] = headers | {"content-type": draw(st.sampled_from(["application/json", "text/plain"]))}
    return request


EXAMPLES = settings.default.max_examples // 10 if settings.default else 4  # each is a request to every path


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
async def test_every_request_gets_an_answer_that_the_description_has(app: FastAPI, data: st.DataObject) -> None:
    async with client_of(app) as client:
        for method, path, operation in operations(app):
            request = data.draw(requests(path, operation))
            answer = await client.request(method, **request)
            assert str(answer.status_code) in {*operation["responses"], *REFUSED}, (method, request, answer.text)
            assert answer.status_code < 500, (method, request, answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["detail"]
            assert "canary" not in answer.text.lower().replace("canary-guess", "")


async def test_other_methods_are_refused_on_every_path(app: FastAPI) -> None:
    async with client_of(app) as client:
        for method in ("DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW"):
            for _, path, _ in operations(app):
                answer = await client.request(method, re.sub(r"\{\w+\}", "x", path))
                assert answer.status_code == 405, (method, path)
