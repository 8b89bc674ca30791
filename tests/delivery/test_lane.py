"""A lane's own decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.lane import FIRST, LIVE, REPLAYED, Lane
from tests.delivery.loop_setup import target

TIMES = st.floats(0, 20)
HELD = st.sampled_from([0, 1, REPLAYED, REPLAYED + 1, LIVE, LIVE + 1])


@given(st.tuples(TIMES, TIMES), HELD, HELD)
def test_a_lane_due_now_always_wants_a_claim_so_that_the_loop_can_sleep(
    times: tuple[float, float], live: int, replayed: int
) -> None:
    lane = Lane(target("ops", "http://127.0.0.1:9/"))
    (lane.live.due, lane.replayed.due), now = times, 10.0
    lane.live.held, lane.replayed.held = live, replayed
    due = lane.due(now)
    assert lane.wants_claim(now) == (due is not None and due <= now)


def test_claims_for_an_idle_target_begin_small_so_that_deliveries_leave_soon_and_grow() -> None:
    lane = Lane(target("ops", "http://127.0.0.1:9/"))
    assert lane.request().live == FIRST
    lane.live.held = FIRST
    assert lane.wants_claim(0.0)
    assert [lane.request().live for _ in range(5)] == [2 * FIRST, 4 * FIRST, LIVE, LIVE, LIVE]
    lane.live.held = 0
    assert lane.request().live == FIRST
