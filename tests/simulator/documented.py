"""Holds answers against PagerDuty's own descriptions of its APIs, where they lie beside the checkout.

Elsewhere nothing is checked: it only adds to what a test asserts by itself.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from openapi_schema_validator import OAS30Validator

from tests.recordings import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError

DOCUMENTS = {"rest-openapi": "", "events-v1-openapi": "/generic/2010-04-15", "events-v2-openapi": "/v2"}


class Answered(Protocol):
    """What the clients of two libraries have in common."""

    request: Any
    status_code: int

    def read(self) -> bytes:
        """The whole body."""


def as_documented(answer: Answered) -> None:
    """A client's hook: fails at an answer that is not as it is documented."""
    request = answer.request
    path, body = request.url.path, answer.read()
    assert mistakes(request.method, path, answer.status_code, request.content, body) == []


HOOKS: dict[str, list[Any]] = {"response": [as_documented]}


def mistakes(method: str, path: str, status: int, sent: bytes, body: bytes) -> list[str]:
    """Where an answer is not as it is documented, nor the request of one that succeeded."""
    for document, pattern, operation in _operations():
        if pattern.fullmatch(f"{method} {path}"):
            found = list(_against(document, operation, status, body))
            if status < 300 and sent:
                found += _mistakes(document, operation.get("requestBody", {}), sent)
            return found
    return []


def _against(document: str, operation: dict[str, Any], status: int, body: bytes) -> Iterator[str]:
    """An answer of success is held against the documented one, whatever its number: 201 where 200 is written."""
    responses = operation["responses"]
    known = [str(status), f"{status // 100}XX", *(each for each in responses if status < 300 and each < "3")]
    if status == 400:
        known.append("404")  # an update's 400 is missing from the document, its codes are not
    described = next((responses[each] for each in known if each in responses), None)
    if described is None:
        yield f"{status} is not documented, only {sorted(responses)}"
    else:
        yield from _mistakes(document, _resolved(document, described), body)


def _mistakes(document: str, described: dict[str, Any], body: bytes) -> Iterator[str]:
    content = described.get("content", {}).get("application/json")
    if content:
        schema = content["schema"] | {"components": _load(document)["components"]}
        for mistake in OAS30Validator(schema).iter_errors(json.loads(body)):
            if not _is_usual(mistake):
                yield f"{mistake.json_path}: {mistake.message[:200]}"


def _is_usual(mistake: ValidationError) -> bool:
    """What PagerDuty does against its document: null where that has none, whole things that it calls references."""
    known: Any = mistake.validator_value
    return mistake.instance is None or (mistake.validator == "enum" and f"{mistake.instance}_reference" in known)


def _resolved(document: str, described: dict[str, Any]) -> dict[str, Any]:
    found: Any = described
    while "$ref" in found:
        name = found["$ref"]
        found = _load(document)
        for part in name.removeprefix("#/").split("/"):
            found = found[part]
    return dict(found)


@cache
def _operations() -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
    return [
        (document, re.compile(f"{method.upper()} {prefix}{re.sub('{[^}]+}', '[^/]+', path)}"), operation)
        for document, prefix in DOCUMENTS.items()
        for path, operations in _load(document).get("paths", {}).items()
        for method, operation in operations.items()
        if method in {"get", "put", "post", "delete"}
    ]


@cache
def _load(document: str) -> dict[str, Any]:
    path = FOLDER / f"{document}.json"
    loaded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    assert isinstance(loaded, dict)
    return loaded
