"""A target's ``success``: a condition that a 2xx answer must meet to count as one. Pure."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import orjson

from daemon import errors
from daemon.fan_out.condition import Condition

if TYPE_CHECKING:
    from daemon.outbound.sender import Rejects
    from daemon.settings import Target


def rejects(target: Target) -> Rejects | None:
    """Return the function that gives the reason for which an answer is no success, or None without a condition."""
    return None if target.success is None else functools.partial(reason, Condition(target.success))


def reason(condition: Condition, status: int, body: bytes) -> str | None:
    """Return why a 2xx answer does not meet a condition, or None if it does."""
    document, is_json = parse(status, body)
    try:
        if condition.holds(document):
            return None
    except errors.ConditionError as error:
        return f"the target's success condition fails: {error}"
    return "the target's success condition is not met" + ("" if is_json else " (the body is not JSON)")


def parse(status: int, body: bytes) -> tuple[dict[str, Any], bool]:
    """Return the document that conditions see, and whether the body is JSON; it is null if not."""
    try:
        return {"status": status, "body": orjson.loads(body)}, True
    except orjson.JSONDecodeError:
        return {"status": status, "body": None}, False
