"""The short forms of the long runs, each on one database, with forked daemons.

``make endurance`` runs the long ones, on both databases, with daemons that are not forked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.endurance import action_scenarios, failing_receivers, reloading, replaying, scenarios

if TYPE_CHECKING:
    from pathlib import Path

PACE = 60.0
SQLITE, POSTGRESQL = (
    pytest.mark.parametrize("database_url", [name], indirect=True) for name in ("sqlite", "postgresql")
)
STOPS_CALLS = ("rate_limited", "rate_limited_bare")  # for a second or for a minute: the long form has them


@SQLITE
async def test_everything_arrives_once_and_in_order_while_both_ends_fail(
    tmp_path: Path, database_url: str, seed: int
) -> None:
    figures = await scenarios.faults(
        tmp_path, database_url, incidents=16, seconds=2, seed=seed, pace=PACE, without=STOPS_CALLS
    )
    assert figures["events"] > 60
    assert figures["attempts"] > figures["deliveries"], "the receivers did fail"


@POSTGRESQL
async def test_nothing_is_lost_when_the_daemon_is_killed_under_load(
    tmp_path: Path, database_url: str, seed: int
) -> None:
    figures = await scenarios.crash(
        tmp_path, database_url, incidents=16, seconds=2, kills=2, seed=seed, pace=PACE, limits=None
    )
    assert figures["events"] > 60


@SQLITE
async def test_the_budget_holds_across_a_kill(tmp_path: Path, database_url: str, seed: int) -> None:
    limits = {"calls": 8, "period": "2s", "poll_interval": "100ms"}
    figures = await scenarios.crash(
        tmp_path, database_url, incidents=10, seconds=4, kills=2, seed=seed, pace=PACE, limits=limits
    )
    assert figures["most_calls_in_a_period"] <= limits["calls"]


@POSTGRESQL
async def test_events_during_a_downtime_are_sent_oldest_first(tmp_path: Path, database_url: str, seed: int) -> None:
    figures = await scenarios.downtime(tmp_path, database_url, days=1, rate=0.05, seed=seed)
    assert figures["events"] > 200
    assert figures["calls_to_catch_up"] < 50


@SQLITE
async def test_ten_targets_with_every_kind_of_failure_do_not_delay_the_others(
    tmp_path: Path, database_url: str, seed: int
) -> None:
    figures = await failing_receivers.beside(
        tmp_path, database_url, incidents=4, seconds=1, rounds=1, seed=seed, pace=PACE, mib=8
    )
    assert figures["p95_with_ms"][0] < 1000 + 3 * figures["p95_without_ms"][0], "less than an attempt at one that hangs"
    assert max(figures["attempts_at_bad_ones"]) < 60


@POSTGRESQL
async def test_a_target_that_was_down_receives_everything_in_order_and_no_other_waits(
    tmp_path: Path, database_url: str, seed: int
) -> None:
    figures = await failing_receivers.outage(
        tmp_path, database_url, hours=0, rate=0, limit=50, live=12, seconds=1, seed=seed, pace=PACE
    )
    assert figures["backlog"] > 50
    assert figures["most_in_a_second"] < 100, "the rate limit, and what a busy machine shifts"


@SQLITE
async def test_every_action_takes_effect_once_while_writes_fail_and_the_daemon_is_killed(
    tmp_path: Path, database_url: str, seed: int
) -> None:
    figures = await action_scenarios.once(tmp_path, database_url, count=16, kills=2, seconds=2, seed=seed)
    assert figures["tried_again"] > 0, "writes did go wrong"


@POSTGRESQL
async def test_a_flood_of_actions_uses_the_whole_budget_without_blocking_polls(
    tmp_path: Path, database_url: str, seed: int
) -> None:
    limits = {"calls": 15, "period": "1s", "poll_interval": "500ms"}
    figures = await action_scenarios.flood(tmp_path, database_url, count=30, limits=limits, seed=seed, together=False)
    assert figures["polls"] >= 0.5 * figures["seconds"], "half as many as there may be"


@SQLITE
async def test_a_killed_daemon_loses_nothing_of_a_replay_and_live_messages_do_not_wait_for_it(
    tmp_path: Path, database_url: str, seed: int
) -> None:
    figures = await replaying.replay(
        tmp_path, database_url, count=800, kills=1, incidents=1, seconds=0.2, seed=seed, pace=PACE
    )
    assert figures["new"] > 0


async def test_reloads_under_load_lose_and_double_nothing(tmp_path: Path, database_url: str, seed: int) -> None:
    figures = await reloading.reloads(tmp_path, database_url, count=9, rate=2, pause=0, seed=seed, pace=PACE)
    assert figures["messages"] > 5
