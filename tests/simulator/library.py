"""PagerDuty's own client library, and helpers for its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pagerduty

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

    from tests.conftest import ManualClock

KEY = "simulated-key"
WHOLE = {"include": ["incidents", "channels"], "time_zone": "UTC"}


class Sdk(pagerduty.RestApiV2Client):
    """PagerDuty's library over plain HTTP, which it refuses otherwise; it retries without waiting."""

    url: str = ""
    sleep_timer = 0.0


def ids(found: Iterable[Any]) -> list[str]:
    """Return the ids of a listing."""
    return [each["id"] for each in found]


def refusal(answer: httpx.Response) -> tuple[int, int, list[str]]:
    """Return the parts of a refusal: status, PagerDuty's code, its details."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("errors", [])


def log(sdk: Sdk, **params: Any) -> list[Any]:
    """Return the log in order, oldest first."""
    return list(sdk.iter_all("log_entries", params=WHOLE | params))[::-1]


def latest(sdk: Sdk, clock: ManualClock) -> list[Any]:
    """Return the log entries of this second, in order."""
    return log(sdk, since=clock().isoformat())


def types(entries: list[Any]) -> list[str]:
    """Return the types of entries, without their suffix."""
    return [each["type"].removesuffix("_log_entry") for each in entries]
