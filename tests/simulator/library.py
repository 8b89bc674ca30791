"""PagerDuty's own client library, and short words for what it reads."""

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
    """PagerDuty's library over plain HTTP, which it refuses otherwise; it repeats without waiting."""

    url: str = ""
    sleep_timer = 0.0


def ids(found: Iterable[Any]) -> list[str]:
    """The ids of a listing."""
    return [each["id"] for each in found]


def refusal(answer: httpx.Response) -> tuple[int, int, list[str]]:
    """How an answer refuses: status, PagerDuty's code, its details."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("errors", [])


def log(sdk: Sdk, **params: Any) -> list[Any]:
    """The log as it happened, oldest first."""
    return list(sdk.iter_all("log_entries", params=WHOLE | params))[::-1]


def latest(sdk: Sdk, clock: ManualClock) -> list[Any]:
    """What the log says of this second, as it happened."""
    return log(sdk, since=clock().isoformat())


def types(entries: list[Any]) -> list[str]:
    """The types of entries, in short."""
    return [each["type"].removesuffix("_log_entry") for each in entries]
