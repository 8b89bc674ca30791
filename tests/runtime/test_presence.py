"""A daemon that stood still does nothing that others may have taken over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from daemon import errors
from daemon.runtime.presence import Presence
from tests.harness.watch import Watch


def test_a_heartbeat_counts_until_it_is_too_old() -> None:
    watch = Watch(100.0)
    presence = Presence(timedelta(seconds=13), watch)
    watch.seconds += 12.9
    presence.require()
    watch.seconds += 0.1
    assert not presence.is_current()
    with pytest.raises(errors.LostClaim, match="no heartbeat"):
        presence.require()


def test_a_heartbeat_counts_from_before_its_transaction() -> None:
    watch = Watch(100.0)
    presence = Presence(timedelta(seconds=13), watch)
    began = presence.now()
    watch.seconds += 20  # the transaction was slow: others may have looked after it had read the time
    presence.confirm(began)
    assert not presence.is_current()
    presence.confirm(presence.now())
    assert presence.is_current()


def test_a_daemon_alone_on_its_database_may_always_act() -> None:
    watch = Watch(100.0)
    presence = Presence(None, watch)
    watch.seconds += 10**6
    presence.require()
