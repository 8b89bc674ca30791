"""A clock that is minutes off is noticed by PagerDuty's own, and said."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
import structlog

from daemon.storage import instances, schema
from daemon.views import overview
from tests.harness.fake_pagerduty import FakePagerDuty
from tests.harness.polling import Daemon

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock


@pytest.mark.parametrize(
    ("skew", "problem"),
    [
        (timedelta(minutes=7), "the clock of host is 420 s behind PagerDuty's"),
        (timedelta(minutes=-7), "the clock of host is 420 s ahead of PagerDuty's"),
        (timedelta(seconds=119), None),
        (timedelta(0), None),
    ],
)
async def test_a_clock_that_is_minutes_off_is_reported_until_it_is_right(
    database: Database, clock: ManualClock, skew: timedelta, problem: str | None
) -> None:
    account = FakePagerDuty(clock, skew=skew)
    daemon = Daemon(database, account)
    database.write_now(instances.register, "one", "host", "0", clock())
    with structlog.testing.capture_logs() as lines:
        await daemon.poll(0)
        await daemon.poll()
        database.write_now(instances.heartbeat, "one", clock())
        (instance,) = database.read_now(overview.live_instances, clock())
        assert (instance.clock_problem or "").startswith(problem or "")
        assert (instance.clock_problem is None) == (problem is None)
        account.skew = timedelta(seconds=1)
        await daemon.poll()
    kinds = [line["event"] for line in lines if line["event"].startswith("clock.")]
    assert kinds == ([] if problem is None else ["clock.skewed", "clock.recovered"])
    ahead = database.read_now(lambda tx: tx.execute(sa.select(schema.instances.c.clock_ahead_seconds)).scalar())
    assert ahead == -1
