"""Daemons on PostgreSQL behind PgBouncer in transaction mode: no transaction may rely on the session of another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from daemon.storage.database import HEAD, Database
from tests.endurance import action_scenarios, scenarios

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Postgres
    from tests.harness.pooler import Pooler

PACE = 60.0
TOGETHER = 2


async def test_nothing_is_lost_when_a_daemon_behind_a_pooler_is_killed_under_load(
    tmp_path: Path, postgres: Postgres, pgbouncer: Pooler, seed: int
) -> None:
    url = pgbouncer.url(postgres.new())
    figures = await scenarios.crash(tmp_path, url, incidents=12, seconds=1, kills=1, seed=seed, pace=PACE, limits=None)
    assert figures["events"] > 40


async def test_every_action_takes_effect_once_behind_a_pooler(
    tmp_path: Path, postgres: Postgres, pgbouncer: Pooler, seed: int
) -> None:
    url = pgbouncer.url(postgres.new())
    figures = await action_scenarios.once(tmp_path, url, count=12, kills=1, seconds=1, seed=seed)
    assert figures["tried_again"] > 0, "writes did go wrong"


def test_daemons_starting_together_behind_a_pooler_create_the_schema_once(
    postgres: Postgres, pgbouncer: Pooler
) -> None:
    url = pgbouncer.url(postgres.new(template="template1"))
    databases = [Database(url) for _ in range(TOGETHER)]
    with ThreadPoolExecutor(TOGETHER) as pool:
        assert list(pool.map(Database.upgrade, databases)) == [HEAD] * TOGETHER
    for each in databases:
        each.check()
        each.close()
