"""The meaning of unsuccessful responses: retry, give up, or request less. Pure; knows PagerDuty's error codes."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from daemon import errors
from daemon.model import MASK, SUCCESS
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEMPORARY = frozenset({408, 425, 429})
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429
TOOK_TOO_LONG = 2016
LONGEST_DELAY = 86_400.0
LONGEST_WORDS = 500
LONGEST_REQUEST_ID = 100
PLAN_REMEDY = {402: "the account's plan does not allow this"}


def failure(
    where: str,
    status: int,
    headers: Mapping[str, str],
    answer: object,
    secrets: Sequence[str] = (),
    remedies: Mapping[int, str] = MappingProxyType({}),
) -> errors.Temporary | errors.Permanent:
    """Return the error for an unexpected response; ``where`` names the host and the path.

    ``remedies`` say what to check for a status, and none of ``secrets`` is quoted.
    """
    identity = request_id(headers)
    if status in SUCCESS:
        return errors.Temporary(f"{where} with something other than a JSON object", status=status, request_id=identity)
    detail = lenient_json.get_object(answer, "error") or (answer if isinstance(answer, dict) else {})
    code = detail.get("code") if isinstance(detail.get("code"), int) else None
    message = f"{where} with {status}"
    if code:
        message += f" ({code})"
    words = [
        lenient_json.get_text(detail, "message") or lenient_json.get_text(detail, "error") or "",
        *_texts(detail.get("errors")),
        _scopes(detail.get("required_scopes")),
    ]
    # A proxy in between may echo the request's headers, and with them the key.
    if text := _masked("; ".join(word for word in words if word), secrets)[:LONGEST_WORDS]:
        message += f": {text}"
    if remedy := {**PLAN_REMEDY, **remedies}.get(status):
        message += f" ({remedy})"
    if identity:
        message += f" [request {identity}]"
    if code == TOOK_TOO_LONG:
        return errors.WindowTooLarge(message, status=status, code=code, request_id=identity)
    if status in TEMPORARY or status >= SERVER_ERROR:
        delay = _delay(headers, status)
        return errors.Temporary(message, status=status, code=code, request_id=identity, delay=delay)
    return errors.Permanent(message, status=status, code=code, request_id=identity)


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return PagerDuty's id of the request."""
    return headers.get("x-request-id", "")[:LONGEST_REQUEST_ID] or None


def _masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def _scopes(value: object) -> str:
    """Return the scopes that an access token lacks: PagerDuty names them beside its message."""
    names = [value] if isinstance(value, str) else _texts(value)
    return f"it needs {', '.join(names)}" if names else ""


def _texts(value: object) -> Sequence[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _delay(headers: Mapping[str, str], status: int) -> timedelta | None:
    """Return the pause that PagerDuty requests.

    That is Retry-After. ratelimit-reset comes with every response and is such a request only in a 429.
    """
    for name in ("ratelimit-reset", "retry-after") if status == TOO_MANY_REQUESTS else ("retry-after",):
        try:
            return timedelta(seconds=min(max(float(headers.get(name, "")), 1.0), LONGEST_DELAY))
        except (ValueError, OverflowError):
            continue
    return None
