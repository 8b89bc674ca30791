"""Validating an operation's parameters. Messages never repeat a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from daemon import errors
from daemon.actions.operation import USER_ID
from daemon.text import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.actions.operation import Operation
    from daemon.model import Json

PATTERNS = {
    r"\S": "must not be blank",
    USER_ID: "must be a user's id such as PXPGF42, not an e-mail address (list: pagerelay users)",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """Valid parameters, and what the queue must know about them."""

    operation: str
    parameters: Json
    incident_id: str | None
    batch_key: str | None
    secret: tuple[str, ...]


def check(operation: Operation, values: Mapping[str, Any]) -> Checked:
    """Return the validated parameters. Raises ParameterError with one problem per invalid parameter."""
    try:
        parameters = operation.parameters(**values)
    except ValidationError as error:
        known = list(operation.parameters.model_fields)
        problems = [_problem(each, known) for each in error.errors(include_url=False, include_input=False)]
        raise errors.ParameterError(operation.name, problems) from None
    return Checked(
        operation.name,
        parameters.model_dump(),
        operation.incident_id(parameters),
        operation.batch_key(parameters),
        tuple(sorted(operation.secret)),
    )


def _problem(error: Any, known: list[str]) -> tuple[str, str]:  # noqa: ANN401 - pydantic's dictionary
    name = str(error["loc"][0]) if error["loc"] else ""
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            what = "is required"
        case "extra_forbidden":
            near = nearest(name, known)
            hint = f'did you mean "{near}"?' if near else f"known: {', '.join(known)}"
            what = f"is not a parameter ({hint})"
        case "string_type":
            what = "must be text"
        case "string_too_short":
            what = "must not be empty"
        case "string_too_long":
            what = f"must have at most {context['max_length']} characters"
        case "string_pattern_mismatch":
            what = PATTERNS.get(context["pattern"], "must be an id or key, without spaces")
        case (
            "greater_than_equal"
            | "less_than_equal"
            | "int_type"
            | "int_parsing"
            | "int_from_float"
            | "int_parsing_size"
        ):
            what = "must be a whole number from 1 to 604800"
        case _:
            what = "is invalid"
    return printable(name[:80]), what
