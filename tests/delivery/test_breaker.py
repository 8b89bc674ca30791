"""The circuit breaker: every outcome in every state, without a loop or a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery import breaker
from daemon.delivery.breaker import FAILURES_IN_A_ROW, SEEN_FAILING, Breaker, BreakerEvent, Step
from daemon.model import REFUSALS, TargetChange, TargetState
from daemon.settings import Retry
from tests.conftest import START

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
RETRY = Retry()
PROBE, OTHER = 7, 8
OPEN = Breaker(TargetState(failing_since=START, probe_at=START, last_error="answered 500"))
HALF_OPEN = replace(OPEN, probe=PROBE)


def failed(
    before: Breaker, delivery_id: int = OTHER, status: int | None = 503, now: datetime = START, jitter: float = 0.5
) -> Step:
    """Return the step that a failure is."""
    return breaker.on_failure(before, delivery_id, status, f"answered {status}", now, RETRY, jitter)


@pytest.mark.parametrize("status", [500, 503, 404, None])
def test_the_third_failure_in_a_row_opens_the_circuit(status: int | None) -> None:
    one = failed(Breaker(), status=status)
    two = failed(one.breaker, status=status)
    assert (one.change, two.change, two.breaker.is_open) == (TargetChange(), TargetChange(), False)
    three = failed(two.breaker, status=status)
    state = TargetState(failing_since=START, probe_at=START + timedelta(seconds=3.75), last_error=f"answered {status}")
    assert three == Step(Breaker(state, FAILURES_IN_A_ROW), TargetChange(circuit=state), (BreakerEvent.FAILING,))


def test_a_success_in_between_starts_the_count_again() -> None:
    two = failed(failed(Breaker()).breaker).breaker
    well = breaker.on_success(two, START)
    assert well == Step(Breaker(), TargetChange(success_at=START))
    assert not failed(failed(well.breaker).breaker).breaker.is_open


@pytest.mark.parametrize("status", REFUSALS)
def test_rejections_of_single_messages_hold_nothing_up(status: int) -> None:
    two = failed(failed(Breaker()).breaker).breaker
    for before in (Breaker(), two):
        step = failed(before, status=status)
        assert step == Step(replace(before, refused=(OTHER,), refused_at=START))
        assert step.breaker.may_send(OTHER, START)


def test_three_different_messages_rejected_in_a_row_are_reported_once() -> None:
    circuit, steps = Breaker(), []
    for minute, delivery_id in enumerate((1, 1, 2, 1, 3, 4)):
        steps.append(failed(circuit, delivery_id, 400, START + minute * MINUTE))
        circuit = steps[-1].breaker
    assert [step.events for step in steps] == [(), (), (), (), (BreakerEvent.REFUSING,), ()]
    assert steps[4].change == TargetChange(refusing_since=START, refusal="answered 400")
    assert circuit.state == TargetState(refusing_since=START, last_error="answered 400")
    assert not circuit.is_held(START), "it goes on being sent everything"
    taken = breaker.on_success(circuit, START + HOUR)
    change = TargetChange(success_at=START + HOUR, circuit=TargetState())
    assert taken == Step(Breaker(), change, (BreakerEvent.RECOVERED,))


def test_a_message_taken_in_between_shows_that_the_target_is_well() -> None:
    circuit = Breaker()
    for delivery_id in range(10):
        circuit = failed(circuit, delivery_id, 422).breaker
        circuit = breaker.on_success(circuit, START).breaker
    assert circuit == Breaker()


def test_a_target_that_takes_messages_of_another_daemon_is_not_refusing() -> None:
    refusing = TargetState(refusing_since=START, last_error="answered 400")
    known = Breaker(refusing, refused=(1, 2, 3), refused_at=START)
    assert breaker.apply_claim(known, TargetState(), None).breaker == Breaker()
    assert breaker.apply_claim(known, refusing, None).breaker == known


def test_a_success_closes_the_circuit_and_makes_waiting_deliveries_due() -> None:
    for before in (OPEN, HALF_OPEN, replace(HALF_OPEN, probing_since=START, failures=3)):
        step = breaker.on_success(before, START + HOUR)
        change = TargetChange(success_at=START + HOUR, circuit=TargetState(), recovered=True)
        assert step == Step(Breaker(), change, (BreakerEvent.RECOVERED,))


def test_after_a_failed_probe_the_next_one_waits_longer() -> None:
    step = failed(HALF_OPEN, PROBE, now=START + MINUTE)
    state = replace(OPEN.state, probes=1, probe_at=START + MINUTE + timedelta(seconds=11.25), last_error="answered 503")
    assert step == Step(Breaker(state, probing_since=START + MINUTE), TargetChange(circuit=state))


def test_a_result_from_before_the_circuit_opened_changes_nothing() -> None:
    for before in (OPEN, HALF_OPEN):
        assert failed(before, OTHER) == Step(before)


def test_a_probe_that_fails_after_a_resume_opens_no_circuit() -> None:
    resumed = breaker.apply_claim(HALF_OPEN, TargetState(), None)
    assert resumed.breaker == Breaker()
    assert failed(resumed.breaker, PROBE) == Step(Breaker(failures=1))


def test_a_probe_that_was_not_sent_is_replaced_at_once() -> None:
    state = replace(OPEN.state, probe_at=START + MINUTE)
    assert breaker.lose_probe(HALF_OPEN, {PROBE, OTHER}, START + MINUTE) == Step(
        Breaker(state), TargetChange(circuit=state)
    )
    assert breaker.lose_probe(HALF_OPEN, {OTHER}, START) == Step(HALF_OPEN)
    assert breaker.lose_probe(OPEN, {PROBE}, START) == Step(OPEN)


def test_the_longest_requested_pause_wins_and_every_request_is_recorded() -> None:
    first = breaker.on_retry_after(HALF_OPEN, START + HOUR)
    second = breaker.on_retry_after(first.breaker, START + HOUR / 2)
    assert second.breaker.state.blocked_until == START + HOUR
    assert (first.change, second.change) == (
        TargetChange(blocked_until=START + HOUR),
        TargetChange(blocked_until=START + HOUR / 2),
    )


@pytest.mark.parametrize("circuit", [Breaker(), OPEN, HALF_OPEN])
def test_a_requested_pause_outlasts_failures_successes_and_probes_that_were_not_sent(circuit: Breaker) -> None:
    blocked = breaker.on_retry_after(circuit, START + HOUR).breaker
    lost = breaker.lose_probe(blocked, {PROBE}, START)
    for step in (failed(blocked), failed(blocked, PROBE), breaker.on_success(blocked, START), lost):
        assert step.breaker.state.blocked_until == START + HOUR
        assert step.breaker.state.ready_at == START + HOUR
        assert step.breaker.is_held(START)
        assert not step.breaker.may_send(PROBE, START + HOUR - timedelta(microseconds=1))


@pytest.mark.parametrize("circuit", [Breaker(), OPEN, HALF_OPEN])
def test_410_pauses_the_target_once(circuit: Breaker) -> None:
    step = breaker.on_gone(circuit, "answered 410", START)
    closed = TargetState(last_error="answered 410")
    paused = replace(closed, paused_at=START, paused_reason="answered 410")
    change = TargetChange(circuit=closed, gone_at=START, gone_reason="answered 410")
    assert step == Step(Breaker(paused), change, (BreakerEvent.PAUSED,))
    again = breaker.on_gone(step.breaker, "answered 410", START + HOUR)
    assert again == Step(step.breaker), "it was on its way before, and must not undo a resume"


def test_a_manual_pause_keeps_the_rest_of_the_state_and_is_logged_once() -> None:
    step = breaker.pause(HALF_OPEN, START)
    assert step == Step(replace(HALF_OPEN, state=replace(OPEN.state, paused_at=START)), events=(BreakerEvent.PAUSED,))
    assert breaker.pause(step.breaker, START + HOUR) == Step(step.breaker)
    assert not step.breaker.may_send(PROBE, START)


PAUSED = TargetState(paused_at=START, paused_reason="paused by hand")


@pytest.mark.parametrize(
    ("before", "read", "events"),
    [
        (Breaker(), TargetState(), ()),
        (Breaker(), PAUSED, (BreakerEvent.PAUSED,)),
        (Breaker(PAUSED), PAUSED, ()),
        (Breaker(PAUSED), TargetState(), (BreakerEvent.RESUMED,)),
        (OPEN, TargetState(), (BreakerEvent.RECOVERED,)),
        (OPEN, OPEN.state, ()),
        (Breaker(), OPEN.state, ()),
        (Breaker(replace(OPEN.state, paused_at=START)), TargetState(), (BreakerEvent.RESUMED, BreakerEvent.RECOVERED)),
    ],
)
def test_a_claim_includes_state_recorded_by_other_daemons(
    before: Breaker, read: TargetState, events: tuple[BreakerEvent, ...]
) -> None:
    before = replace(before, failures=2)
    step = breaker.apply_claim(before, read, None)
    assert (step.breaker.state, step.change, step.events) == (read, TargetChange(), events)
    assert step.breaker.failures == (0 if {BreakerEvent.RESUMED, BreakerEvent.RECOVERED} & {*events} else 2)


def test_a_claim_for_a_failing_target_includes_its_probe() -> None:
    assert breaker.apply_claim(Breaker(), OPEN.state, PROBE).breaker == HALF_OPEN
    assert breaker.apply_claim(HALF_OPEN, OPEN.state, None).breaker == HALF_OPEN, "it is on its way"
    assert breaker.apply_claim(Breaker(), TargetState(), OTHER).breaker == Breaker(), "nothing to probe"


def test_only_the_probe_is_sent_to_a_failing_target() -> None:
    assert [each.may_send(PROBE, START) for each in (Breaker(), OPEN, HALF_OPEN)] == [True, False, True]
    assert [each.may_send(OTHER, START) for each in (Breaker(), OPEN, HALF_OPEN)] == [True, False, False]


def test_a_backlog_expires_after_a_full_horizon_of_failures_observed_for_ten_minutes() -> None:
    long = replace(HALF_OPEN, state=replace(OPEN.state, failing_since=START - 100 * HOUR))
    expiry: list[datetime | None] = []
    for number in range(11):
        step = failed(long, PROBE, None, START + number * MINUTE)
        expiry.append(step.change.expire_before)
        long = replace(step.breaker, probe=PROBE)
    assert expiry == [None] * 10 + [START + SEEN_FAILING - RETRY.horizon]
    for status in REFUSALS:
        refused = failed(long, PROBE, status, START + HOUR)
        assert refused.change.expire_before is None, "what is refused says nothing about others"
    assert failed(long, PROBE, 500, START + HOUR).change.expire_before == START + HOUR - RETRY.horizon


def test_nothing_expires_before_the_target_has_failed_for_a_full_horizon() -> None:
    seen = replace(HALF_OPEN, probing_since=START)
    end = START + RETRY.horizon
    assert failed(seen, PROBE, now=end - timedelta(microseconds=1)).change.expire_before is None
    assert failed(seen, PROBE, now=end).change.expire_before == START


def test_a_new_failure_after_a_recovery_seen_elsewhere_must_be_observed_for_ten_minutes_again() -> None:
    seen = replace(HALF_OPEN, probing_since=START)
    other = replace(OPEN.state, failing_since=START + MINUTE)
    assert breaker.apply_claim(seen, OPEN.state, PROBE).breaker.probing_since == START
    assert breaker.apply_claim(seen, other, PROBE).breaker.probing_since is None
    assert breaker.apply_claim(seen, TargetState(), None).breaker.probing_since is None


OUTCOMES = st.one_of(
    st.tuples(st.just("success")),
    st.tuples(st.just("failure"), st.sampled_from([PROBE, OTHER]), st.sampled_from([None, 500, *REFUSALS])),
    st.tuples(st.just("retry_after"), st.integers(1, 7200)),
    st.tuples(st.just("gone")),
    st.tuples(st.just("pause")),
    st.tuples(st.just("lose"), st.sampled_from([PROBE, OTHER])),
    st.tuples(st.just("claim"), st.sampled_from([None, PROBE])),
    st.tuples(st.just("resume")),
)


def step_of(before: Breaker, outcome: tuple[object, ...], now: datetime, jitter: float) -> Step:
    """Return the step that an outcome is; a claim brings the present state as others have recorded it."""
    kind, *arguments = outcome
    steps: dict[object, Callable[..., Step]] = {
        "success": lambda: breaker.on_success(before, now),
        "failure": lambda delivery_id, status: failed(before, delivery_id, status, now, jitter),
        "retry_after": lambda seconds: breaker.on_retry_after(before, now + timedelta(seconds=seconds)),
        "gone": lambda: breaker.on_gone(before, "answered 410", now),
        "pause": lambda: breaker.pause(before, now),
        "lose": lambda delivery_id: breaker.lose_probe(before, {delivery_id}, now),
        "claim": lambda probe: breaker.apply_claim(before, before.state, probe if before.is_open else None),
        "resume": lambda: breaker.apply_claim(before, TargetState(), None),
    }
    return steps[kind](*arguments)


def check_circuit(before: Breaker, step: Step, kind: str, now: datetime, in_a_row: int) -> None:
    """Check when the circuit opens, closes and is probed, and that this is logged."""
    circuit, state = step.breaker, step.breaker.state
    opens, closes = circuit.is_open and not before.is_open, before.is_open and not circuit.is_open
    assert circuit.is_open or (circuit.probe, state.probe_at, state.probes) == (None, None, 0)
    assert not opens or (kind, in_a_row >= FAILURES_IN_A_ROW, state.failing_since) == ("failure", True, now)
    assert opens == (kind == "failure" and not before.is_open and in_a_row >= FAILURES_IN_A_ROW)
    assert not closes or kind in {"success", "gone", "resume"}
    if kind == "failure" and step.change.circuit is not None:
        assert state.probe_at is not None
        assert now < state.probe_at <= now + MINUTE
    assert (BreakerEvent.FAILING in step.events) == opens
    accepts = kind == "success" and before.state.refusing_since is not None
    assert (BreakerEvent.RECOVERED in step.events) == ((closes and kind != "gone") or accepts)
    assert step.change.recovered == (closes and kind == "success")


def check_pauses(before: Breaker, step: Step, kind: str, now: datetime) -> None:
    """Check that a pause ends only by a resume, and that nothing is sent meanwhile."""
    state, old = step.breaker.state, before.state
    if old.blocked_until is not None and kind != "resume":
        assert state.blocked_until is not None
        assert state.blocked_until >= old.blocked_until
    assert kind == "resume" or old.paused_at is None or state.paused_at == old.paused_at
    assert (BreakerEvent.PAUSED in step.events) == (state.paused_at is not None and old.paused_at is None)
    assert (BreakerEvent.RESUMED in step.events) == (state.paused_at is None and old.paused_at is not None)
    for delivery_id in (PROBE, OTHER):
        may_send = state.paused_at is None and not state.is_blocked(now)
        may_send = may_send and (not step.breaker.is_open or delivery_id == step.breaker.probe)
        assert step.breaker.may_send(delivery_id, now) == may_send


RECORDED = ("failing_since", "probe_at", "probes", "last_error")


def check_change(before: Breaker, step: Step, kind: str, now: datetime) -> None:
    """Check that other daemons learn of the change, and that nothing expires early."""
    change, state = step.change, step.breaker.state
    if change.expire_before is not None:
        assert state.failing_since is not None
        assert state.failing_since <= change.expire_before == now - RETRY.horizon
    if kind in {"claim", "resume", "pause"}:  # derived from recorded state
        assert change == TargetChange()
        return
    was, after = ([getattr(each.state, name) for name in RECORDED] for each in (before, step.breaker))
    begins, ends = change.refusing_since is not None, before.state.refusing_since is not None and kind == "success"
    assert was == after or change.circuit is not None or begins or ends
    assert begins == (before.state.refusing_since is None and state.refusing_since is not None)
    assert state.refusing_since is None or kind != "success"
    assert change.circuit is None or [getattr(change.circuit, name) for name in RECORDED] == after
    assert (change.gone_at == now) == (kind == "gone" and before.state.paused_at is None)
    assert (change.success_at == now) == (kind == "success")
    assert (change.blocked_until is not None) == (kind == "retry_after")


@given(st.lists(st.tuples(OUTCOMES, st.integers(0, 600), st.floats(0, 1, exclude_max=True)), max_size=60))
def test_every_sequence_of_outcomes_keeps_the_invariants(
    sequence: list[tuple[tuple[object, ...], int, float]],
) -> None:
    now, circuit = START, Breaker()
    in_a_row = 0
    for outcome, seconds, jitter in sequence:
        now += timedelta(seconds=seconds)
        before, step = circuit, step_of(circuit, outcome, now, jitter)
        circuit, kind = step.breaker, str(outcome[0])
        hears = kind == "failure" and not before.is_open and outcome[2] not in REFUSALS
        pauses = kind == "gone" and before.state.paused_at is None
        resumes = kind == "resume" and (before.is_open or before.state.paused_at is not None)
        in_a_row = in_a_row + 1 if hears else 0 if pauses or resumes or kind == "success" else in_a_row
        check_circuit(before, step, kind, now, in_a_row)
        check_pauses(before, step, kind, now)
        check_change(before, step, kind, now)
