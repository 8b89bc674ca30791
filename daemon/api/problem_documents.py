"""Errors as RFC 9457 problem documents, without tracebacks or request content."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from daemon import errors, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

T = TypeVar("T")

MEDIA_TYPE = "application/problem+json"


class Mistake(BaseModel):
    """A mistake in one part of a request."""

    where: str = Field(description="For example query.limit")
    message: str


class Problem(BaseModel):
    """A problem as in RFC 9457."""

    type: str = Field("about:blank", description="Always about:blank: the status says what kind of problem it is")
    title: str
    status: int
    detail: str
    errors: list[Mistake] | None = Field(None, description="Only with status 422")
    unready: list[str] | None = Field(None, description="Only from /readyz: what is not ready")


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = MEDIA_TYPE


NOT_AN_OBJECT = {"model_attributes_type", "model_type", "dict_type"}


def existing(item: T | None, what: str) -> T:
    """Return what was looked up; ``what`` names it. Raises NotFound if there is none."""
    if item is None:
        raise errors.NotFound(f"unknown {what} (it may have been pruned)")
    return item


def respond(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: object) -> ProblemResponse:
    """Return a response with one problem."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return ProblemResponse(document | more, status_code=status, headers=dict(headers or {}))


def install(app: FastAPI) -> None:
    """Turn every error of the application into a problem document."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(errors.NotFound, _not_found)
    app.add_exception_handler(errors.InvalidRequest, _invalid_request)
    app.add_exception_handler(errors.UsageError, _usage)
    app.add_exception_handler(errors.Conflict, _conflict)
    app.add_exception_handler(errors.ConfigurationError, _configuration)
    app.add_exception_handler(errors.DatabaseError, _database)


async def _http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker: registered for this class only
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "unknown path (see /openapi.json)"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not allowed for this path"
        if allowed := _allowed(request):
            return respond(error.status_code, detail, {"Allow": allowed})
    return respond(error.status_code, detail, error.headers)


def _allowed(request: Request) -> str | None:
    """Return the methods of a path in the OpenAPI document; Starlette would include undocumented routes."""
    paths, path = request.app.openapi()["paths"], request.url.path
    matches = (each for template, each in paths.items() if compile_path(template)[0].match(path))
    methods = paths.get(path) or next(matches, ())
    return ", ".join(sorted(each.upper() for each in methods)) or None


async def _invalid(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    mistakes = [_mistake(each) for each in error.errors()]
    detail = "; ".join(f"{each['where']}: {each['message']}" for each in mistakes)
    return respond(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=mistakes)


def _mistake(error: Any) -> dict[str, str]:  # noqa: ANN401 - pydantic's error as a dictionary
    message = "unknown parameter" if error["type"] == "extra_forbidden" else error["msg"]
    if error["loc"] == ("body",) and error["type"] in NOT_AN_OBJECT:
        message = "must be a JSON object, sent with the header Content-Type: application/json"
    return {"where": ".".join(text.excerpt(str(part)) for part in error["loc"]), "message": message}


async def _invalid_request(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, errors.InvalidRequest)  # noqa: S101 - as above
    mistakes = [{"where": ".".join(("body", *place)), "message": message} for place, message in error.mistakes]
    detail = "; ".join(f"{each['where']}: {each['message']}" for each in mistakes)
    return respond(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=mistakes)


async def _not_found(_request: Request, error: Exception) -> ProblemResponse:
    return respond(HTTPStatus.NOT_FOUND, str(error))


async def _usage(_request: Request, error: Exception) -> ProblemResponse:
    return respond(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


async def _configuration(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, errors.ConfigurationError)  # noqa: S101 - as above
    return respond(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), mistakes=error.mistakes)


async def _conflict(_request: Request, error: Exception) -> ProblemResponse:
    return respond(HTTPStatus.CONFLICT, str(error))


async def _database(_request: Request, error: Exception) -> ProblemResponse:
    return respond(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
