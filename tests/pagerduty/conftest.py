"""A fake PagerDuty, for the tests of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.storage import connections
from tests.pagerduty.scripted_pagerduty import ScriptedPagerDuty

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock


@pytest.fixture
def fake(database: Database, clock: ManualClock) -> ScriptedPagerDuty:
    """Return a fake PagerDuty, in a database with the connection acme."""
    database.write_now(connections.ensure, ["acme"], [], clock())
    return ScriptedPagerDuty(database, clock)
