"""The long runs' short forms; ``make soak`` and ``make crash`` are the long ones."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.endurance import world

if TYPE_CHECKING:
    from pathlib import Path

SEED = 1


async def test_everything_arrives_once_and_in_order_while_both_ends_fail(tmp_path: Path, database_url: str) -> None:
    moody = world.Moody(0.1, random.Random(SEED))
    async with world.world(tmp_path, database_url, seed=SEED, behave=moody) as around:
        around.start()
        await around.baseline()
        around.simulator.faults.set(world.FAULTS | {"rate_limited_bare": 0}, SEED)  # it stops calls for a minute
        await world.live(around.account, incidents=25, seconds=2, seed=SEED)
        await around.until(around.all_arrived)
        assert around.stop() == 0
        report = around.report()
        report.check()
        assert report.events > 100
