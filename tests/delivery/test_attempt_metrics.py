"""The metrics of attempts as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from daemon.delivery.attempt_metrics import attempt_metrics


def test_attempts_are_counted_by_target_and_outcome_and_their_durations_add_up() -> None:
    registry = CollectorRegistry()
    ops = attempt_metrics(registry).of_target("ops")
    ops.count("delivered")
    attempt_metrics(registry).of_target("ops").count("delivered")  # after a reload
    ops.count("failed")
    for seconds in (0.01, 0.02, 70.0):
        ops.observe(seconds)
    assert [line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"] == [
        'pagerelay_attempts_total{outcome="delivered",target="ops"} 2.0',
        'pagerelay_attempts_total{outcome="failed",target="ops"} 1.0',
        'pagerelay_attempt_seconds_bucket{le="0.01",target="ops"} 1.0',
        'pagerelay_attempt_seconds_bucket{le="0.05",target="ops"} 2.0',
        'pagerelay_attempt_seconds_bucket{le="0.1",target="ops"} 2.0',
        'pagerelay_attempt_seconds_bucket{le="0.5",target="ops"} 2.0',
        'pagerelay_attempt_seconds_bucket{le="1.0",target="ops"} 2.0',
        'pagerelay_attempt_seconds_bucket{le="5.0",target="ops"} 2.0',
        'pagerelay_attempt_seconds_bucket{le="15.0",target="ops"} 2.0',
        'pagerelay_attempt_seconds_bucket{le="60.0",target="ops"} 2.0',
        'pagerelay_attempt_seconds_bucket{le="+Inf",target="ops"} 3.0',
        'pagerelay_attempt_seconds_count{target="ops"} 3.0',
        'pagerelay_attempt_seconds_sum{target="ops"} 70.03',
    ]
