"""Whether parameters are an operation's, in words for people. Nothing that was given is repeated in them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from daemon import errors
from daemon.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.actions.operation import Operation
    from daemon.model import Json


@dataclass(frozen=True, slots=True)
class Checked:
    """Good parameters, and what the queue has to know about them."""

    operation: str
    parameters: Json
    subject: str | None
    together: str | None
    secret: tuple[str, ...]


def check(operation: Operation, given: Mapping[str, Any]) -> Checked:
    """The parameters, checked. Raises ParameterError with one problem for each that is wrong."""
    try:
        parameters = operation.parameters(**given)
    except ValidationError as error:
        known = list(operation.parameters.model_fields)
        problems = [_problem(each, known) for each in error.errors(include_url=False, include_input=False)]
        raise errors.ParameterError(operation.name, problems) from None
    return Checked(
        operation.name,
        parameters.model_dump(),
        operation.subject(parameters),
        operation.together(parameters),
        tuple(sorted(operation.secret)),
    )


def _problem(error: Any, known: list[str]) -> tuple[str, str]:  # noqa: ANN401 - pydantic's dictionary
    name = str(error["loc"][0]) if error["loc"] else ""
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            what = "is missing"
        case "extra_forbidden":
            near = difflib.get_close_matches(name, known, 1)
            what = f'is no parameter (did you mean "{near[0]}"?)' if near else f"is no parameter ({', '.join(known)})"
        case "string_type":
            what = "must be text"
        case "string_too_short":
            what = "must not be empty"
        case "string_too_long":
            what = f"must have at most {context['max_length']} characters"
        case "string_pattern_mismatch":
            what = "must not be blank" if context["pattern"] == r"\S" else "must be an id or key, without blanks"
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
            what = "cannot be used"
    return printable(name[:80]), what
