"""PagerDuty's own clients of both its APIs, and helpers for refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pagerduty
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Rest(pagerduty.RestApiV2Client):
    """The client of the REST API over plain HTTP, which it refuses otherwise; it neither waits nor retries."""

    url: str = ""
    sleep_timer = 0.0
    max_network_attempts = 0


class Events(pagerduty.EventsApiV2Client):
    """The client of the Events API over plain HTTP, which it refuses otherwise; it neither waits nor retries."""

    url: str = ""
    sleep_timer = 0.0
    max_network_attempts = 0


def refusal(write: Callable[[], object]) -> tuple[int, int]:
    """Status and PagerDuty's code of a write that is refused."""
    with pytest.raises(pagerduty.HttpError) as caught:
        write()
    answer = caught.value.response
    assert answer is not None
    return answer.status_code, answer.json()["error"]["code"]
