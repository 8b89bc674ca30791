"""The log lines about reading the log after a downtime."""

from __future__ import annotations

from datetime import timedelta

import structlog

from daemon.ingest.catch_up import CatchUp
from tests.conftest import START
from tests.harness.watch import Watch

HOUR = timedelta(hours=1)


def test_catching_up_is_logged_every_ten_seconds_with_what_is_left() -> None:
    watch = Watch()
    with structlog.testing.capture_logs() as lines:
        catch_up = CatchUp("acme", START, START + 8 * HOUR, watch)
        for seconds, hours in ((5, 1), (10, 2), (15, 4), (20, 6)):
            watch.seconds = seconds
            catch_up.report(START + hours * HOUR)
    assert [(line["done"], line["behind"], line["estimate"]) for line in lines] == [
        ("12%", "7 h", "about 35 s left"),
        ("50%", "4 h", "about 15 s left"),
    ]
    assert lines[0]["event"] == "log.catching_up"
    assert lines[0]["read_up_to"] == START + HOUR
