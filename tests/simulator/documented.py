"""Validation of requests and responses against PagerDuty's own API descriptions, if these are beside the checkout.

Otherwise nothing is checked: this only adds to the assertions of a test. ``DIVERGENCES`` lists where PagerDuty's
records differ from its descriptions; everything else must match exactly.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from jsonschema.validators import extend
from openapi_schema_validator import OAS30ReadValidator, OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from tests.harness.recordings import FOLDER
from tests.simulator.divergences import DIVERGENCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jsonschema import ValidationError

DOCUMENTS = {"rest-openapi": "", "events-v1-openapi": "/generic/2010-04-15", "events-v2-openapi": "/v2"}
BASE = "http://documented/"
METHODS = {"get", "put", "post", "delete"}


@dataclass(frozen=True)
class Operation:
    """One operation of a document. ``pointer`` is where it stands there."""

    document: str
    method: str
    path: str
    pattern: re.Pattern[str]
    parameters: tuple[dict[str, Any], ...]
    described: dict[str, Any]
    pointer: str


class Answered(Protocol):
    """The common attributes of two libraries' responses."""

    request: Any
    status_code: int

    def read(self) -> bytes:
        """Return the whole body."""


def as_documented(answered: Answered) -> None:
    """Fail, as a client's hook, at a response that violates the description, and at an accepted body that does."""
    request, body = answered.request, answered.read()
    operation = find(request.method, request.url.path)
    mistakes = answer_mistakes(operation, answered.status_code, body)
    if operation is not None and request.content and answered.status_code < 300:
        mistakes += _body_mistakes(operation, request.content)
    assert mistakes == [], "\n".join(mistakes)


HOOKS: dict[str, list[Any]] = {"response": [as_documented]}


def find(method: str, path: str) -> Operation | None:
    """Return the operation of a request, if there is one; None as well without a document."""
    for operation in operations():
        if operation.method == method and operation.pattern.fullmatch(path):
            return operation
    return None


def request_mistakes(
    operation: Operation, query: Iterable[tuple[str, str]], headers: Mapping[str, str], body: bytes
) -> list[str]:
    """Return how a request violates the description: unknown, missing or mistyped parameters, or its body."""
    known = {each["name"]: each for each in operation.parameters if each["in"] == "query"}
    sent = {name.lower() for name in headers}
    mistakes = [
        f"the header {each['name']} is missing"
        for each in operation.parameters
        if each["in"] == "header" and each.get("required") and each["name"].lower() not in sent
    ]
    for name, value in query:
        if name not in known:
            mistakes.append(f"there is no parameter {name}")
        else:
            mistakes += [f"{name}={value}: {each}" for each in _value_mistakes(known[name]["schema"], value)]
    return mistakes + (_body_mistakes(operation, body) if body or "requestBody" in operation.described else [])


def answer_mistakes(operation: Operation | None, status: int, body: bytes) -> list[str]:
    """Return how a response violates the description.

    A success is validated against the described success whatever its number: 201 where the description has 200.
    """
    if operation is None:
        return []
    responses = operation.described["responses"]
    known = [str(status), f"{status // 100}XX", *(each for each in responses if status < 300 and each < "3")]
    if status == 400:
        known.append("404")  # an update's 400 is missing from the document, its codes are not
    number = next((each for each in known if each in responses), None)
    if number is None:
        return [f"{status} is not documented, only {sorted(responses)}"]
    if status == 429 and not body:
        return []  # as sometimes returned, documented only in prose
    return _mistakes(operation.document, f"{operation.pointer}/responses/{number}", body, OAS30ReadValidator)


def _body_mistakes(operation: Operation, body: bytes) -> list[str]:
    return _mistakes(operation.document, f"{operation.pointer}/requestBody", body, OAS30Validator)


def _value_mistakes(schema: dict[str, Any], value: str) -> Iterator[str]:
    """Yield the mistakes of a parameter; a repeated one is described as a list of values or as one value."""
    kind: dict[str, Any] = schema.get("items", schema)
    typed: Any = int(value) if kind.get("type") == "integer" and value.isdigit() else value
    if kind.get("type") == "boolean":
        typed = {"true": True, "false": False}.get(value, value)
    parts = value.split(",") if "items" in schema else [typed]
    for part in parts:
        yield from (each.message for each in OAS30Validator(kind).iter_errors(part))


def _mistakes(document: str, pointer: str, body: bytes, reader: Any) -> list[str]:
    content = _content(document, pointer)
    if content is None:
        return []  # described in words alone
    try:
        value = json.loads(body)
    except ValueError:
        return [f"no JSON: {body[:60]!r}"]
    validator = _validator(document, content, reader)
    return [_told(each) for each in validator.iter_errors(value)]


def _told(mistake: ValidationError) -> str:
    """Return the mistake as text; among several alternatives, that of the type that the value claims to have."""
    while mistake.context:
        kinds: dict[Any, list[ValidationError]] = {}
        for each in mistake.context:
            kinds.setdefault(each.schema_path[0], []).append(each)
        mistake = min(kinds.values(), key=lambda kind: any(each.path and each.path[-1] == "type" for each in kind))[0]
    return f"{mistake.json_path}: {mistake.message[:200]}"


@cache
def _content(document: str, pointer: str) -> str | None:
    """Return where the schema of a request's or response's JSON is."""
    described = _at(document, pointer)
    while "$ref" in described:
        pointer = described["$ref"]
        described = _at(document, pointer)
    return f"{pointer}/content/application~1json/schema" if "content" in described else None


@cache
def _validator(document: str, pointer: str, reader: Any) -> Any:
    return _remembering(document, reader)({"$ref": f"{BASE}{document}{pointer}"}, registry=_registry())


@cache
def _remembering(document: str, reader: Any) -> Any:
    """Return a validator class for a document that checks no value twice against the same referenced schema.

    Only valid values are remembered, so the mistakes are the same: entries share their incidents and services,
    and each kind of entry refers to the same parts.
    """
    del document  # its references are its own
    valid: set[tuple[str, str]] = set()
    check = reader.VALIDATORS["$ref"]

    def reference(validator: Any, ref: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
        key = (ref, json.dumps(instance))
        if key in valid:
            return
        found = False
        for mistake in check(validator, ref, instance, schema):
            found = True
            yield mistake
        if not found:
            valid.add(key)

    return extend(reader, {"$ref": reference})  # type: ignore[no-untyped-call]  # the library has no types


@cache
def _registry() -> Registry[Any]:
    resources = [(BASE + name, DRAFT4.create_resource(load(name))) for name in DOCUMENTS]
    return Registry[Any]().with_resources(resources)


def _at(document: str, pointer: str) -> Any:
    node: Any = load(document)
    for part in pointer.removeprefix("#/").split("/"):
        node = node[part.replace("%7B", "{").replace("%7D", "}").replace("~1", "/")]
    return node


@cache
def operations() -> list[Operation]:
    """Return every operation of every document, those without names in their paths first."""
    paths = []
    for document, prefix in DOCUMENTS.items():
        for path, item in load(document).get("paths", {}).items():
            for method in METHODS & item.keys():
                pointer = f"#/paths/{path.replace('/', '~1').replace('{', '%7B').replace('}', '%7D')}/{method}"
                parameters = [*item.get("parameters", []), *item[method].get("parameters", [])]
                whole = tuple(_at(document, each["$ref"]) if "$ref" in each else each for each in parameters)
                pattern = re.compile(prefix + re.sub("{[^}]+}", "[^/]+", path))
                paths.append(Operation(document, method.upper(), path, pattern, whole, item[method], pointer))
    return sorted(paths, key=lambda each: each.path.count("{"))


@cache
def load(document: str) -> Any:
    """Return a document with the divergences; empty if it is not stored here."""
    path = FOLDER / f"{document}.json"
    if not path.exists():
        return {}
    loaded = json.loads(path.read_text(encoding="utf-8"))
    for divergence in DIVERGENCES.values() if document == "rest-openapi" else ():
        divergence.allow(loaded)
    return loaded
