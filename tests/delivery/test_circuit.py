"""The unsaved part of a target's state, and the claims that may change it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from structlog.testing import capture_logs

from daemon.delivery import breaker
from daemon.delivery.circuit import SUCCESS_SECONDS, Circuit
from daemon.model import TargetChange, TargetState
from daemon.settings import Retry
from tests.conftest import START

HOUR = timedelta(hours=1)
FAILING = TargetState(failing_since=START, probe_at=START, last_error="answered 500")


def fail(circuit: Circuit, delivery_id: int, times: int = 1) -> None:
    """Let attempts of a delivery fail."""
    for _ in range(times):
        failure = breaker.on_failure(circuit.breaker, delivery_id, 500, "answered 500", START, Retry(), 0.5)
        circuit.apply(failure)


def saved(circuit: Circuit, *, overtaken: bool = False) -> TargetChange:
    """Save the unsaved changes."""
    change = circuit.begin_saving(0.0, closing=True)
    assert change is not None
    circuit.saved(change, 0.0, overtaken=overtaken)
    return change


def test_a_410_during_a_save_pauses_the_target_with_the_next_save() -> None:
    circuit = Circuit("ops")
    circuit.succeed(START)
    saving = circuit.begin_saving(0.0, closing=True)
    circuit.apply(breaker.on_gone(circuit.breaker, "answered 410", START))
    assert saving is not None
    circuit.saved(saving, 1.0, overtaken=False)
    change = saved(circuit)
    assert (change.gone_at, change.gone_reason) == (START, "answered 410")


def test_a_success_alone_is_saved_once_a_second_or_at_shutdown_and_blocks_no_claim() -> None:
    circuit = Circuit("ops")
    circuit.succeed(START)
    assert circuit.begin_saving(SUCCESS_SECONDS, closing=False) is None
    change = circuit.begin_saving(SUCCESS_SECONDS + 0.1, closing=False)
    assert change == TargetChange(success_at=START)
    assert circuit.is_settled
    assert change is not None
    circuit.saved(change, 5.0, overtaken=False)
    assert circuit.begin_saving(100.0, closing=True) is None, "it is saved once"
    circuit.succeed(START + HOUR)
    assert circuit.begin_saving(5.0 + SUCCESS_SECONDS, closing=False) is None
    assert circuit.begin_saving(5.0 + SUCCESS_SECONDS, closing=True) == TargetChange(success_at=START + HOUR)


def test_a_claim_changes_nothing_before_a_change_is_saved_or_if_it_is_older() -> None:
    circuit = Circuit("ops")
    before = circuit.version
    circuit.apply(breaker.on_retry_after(circuit.breaker, START + HOUR))
    assert not circuit.is_settled
    circuit.apply_claim(TargetState(), None, circuit.version)
    change = circuit.begin_saving(0.0, closing=False)
    assert change is not None
    assert not circuit.is_settled
    circuit.apply_claim(TargetState(), None, circuit.version)
    circuit.saved(change, 0.0, overtaken=False)
    circuit.apply_claim(TargetState(), None, before)
    assert circuit.breaker.state.blocked_until == START + HOUR
    circuit.apply_claim(TargetState(), None, circuit.version)
    assert circuit.breaker.state.blocked_until is None, "somebody has resumed it"


def test_a_change_builds_on_the_state_last_read_or_saved() -> None:
    circuit = Circuit("ops")
    circuit.apply_claim(FAILING, 7, circuit.version)
    fail(circuit, 7)
    assert saved(circuit).known_failing_since == START
    circuit.succeed(START)
    assert saved(circuit).known_failing_since == START
    fail(circuit, 8, times=3)
    assert saved(circuit, overtaken=True).known_failing_since is None
    circuit.succeed(START)
    assert saved(circuit).known_failing_since is None, "others know better than what was overtaken"
    circuit.apply_claim(replace(FAILING, failing_since=START + HOUR), 9, circuit.version)
    fail(circuit, 9)
    assert saved(circuit).known_failing_since == START + HOUR


def test_a_change_that_cannot_be_saved_is_kept_with_later_ones_for_the_next_save() -> None:
    circuit = Circuit("ops")
    fail(circuit, 1, times=3)
    circuit.apply(breaker.on_retry_after(circuit.breaker, START + HOUR))
    change = circuit.begin_saving(0.0, closing=False)
    assert change is not None
    circuit.succeed(START)
    circuit.apply(breaker.on_retry_after(circuit.breaker, START + HOUR / 2))
    circuit.failed_to_save(change)
    assert not circuit.is_settled
    again = saved(circuit)
    assert (again.blocked_until, again.recovered, again.success_at) == (START + HOUR, True, START)
    assert again.circuit is not None
    assert again.circuit.failing_since is None
    assert circuit.is_settled


def test_a_success_before_a_refusal_does_not_hide_it_from_the_save() -> None:
    circuit = Circuit("ops")
    circuit.succeed(START)
    for number in range(3):
        circuit.apply(breaker.on_failure(circuit.breaker, number, 400, "answered 400", START + HOUR, Retry(), 0.5))
    change = saved(circuit)
    assert (change.success_at, change.refusing_since, change.refusal) == (START, START + HOUR, "answered 400")


def test_of_several_changes_before_a_save_only_the_last_is_saved() -> None:
    circuit = Circuit("ops")
    long = TargetState(failing_since=START - 100 * HOUR, probe_at=START)
    circuit.apply_claim(long, 7, circuit.version)
    late = timedelta(minutes=10)
    circuit.apply(breaker.on_failure(circuit.breaker, 7, None, "no", START - late, Retry(), 0.5))
    saved(circuit)
    circuit.apply_claim(long, 7, circuit.version)
    circuit.apply(breaker.on_failure(circuit.breaker, 7, None, "no", START, Retry(), 0.5))
    circuit.succeed(START)
    change = saved(circuit)
    assert (change.expire_before, change.recovered) == (None, True)
    fail(circuit, 1, times=3)
    circuit.succeed(START)
    fail(circuit, 2, times=3)
    assert not saved(circuit).recovered


def test_each_change_of_state_is_logged_once_with_its_reason() -> None:
    circuit = Circuit("ops")
    with capture_logs() as logs:
        fail(circuit, 1, times=5)
        circuit.succeed(START)
        for _ in range(2):
            circuit.apply(breaker.on_gone(circuit.breaker, "answered 410", START))
        saved(circuit)
        circuit.apply_claim(TargetState(), None, circuit.version)
        circuit.apply(breaker.pause(circuit.breaker, START))
    assert logs == [
        {"event": "target.failing", "log_level": "warning", "target": "ops", "error": "answered 500"},
        {"event": "target.recovered", "log_level": "info", "target": "ops", "failing_since": START},
        {"event": "target.paused", "log_level": "warning", "target": "ops", "reason": "answered 410"},
        {"event": "target.resumed", "log_level": "info", "target": "ops"},
        {"event": "target.paused", "log_level": "info", "target": "ops"},
    ]
