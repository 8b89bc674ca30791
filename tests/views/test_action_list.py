"""What people see of actions, on both kinds of database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon import errors
from daemon.model import MASK, ActionState, Outcome
from daemon.storage import schema
from daemon.views import action_list, connection_health
from tests.conftest import ManualClock
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.settings import Settings
    from daemon.storage.database import Database


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return sample_data.settings(tmp_path, database_url)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    yield from sample_data.shared_database(request, tmp_path_factory.mktemp("samples"), ManualClock())


@pytest.mark.parametrize(
    ("filters", "times"),
    [
        ({}, ["act_1", "act_2", "act_3", "act_4", "act_5"]),
        ({"state": "queued"}, ["act_4", "act_5"]),
        ({"state": "running"}, ["act_3"]),
        ({"state": "succeeded"}, ["act_1"]),
        ({"state": "failed"}, ["act_2"]),
        ({"operation": "CreateIncident"}, ["act_5"]),
        ({"connection": "acme", "state": "queued"}, ["act_4"]),
        ({"incident": "P3"}, ["act_3"]),
        ({"incident": "P3", "operation": "CreateIncident"}, []),
        ({"after": "3"}, ["act_4", "act_5"]),
        ({"last": True, "limit": 2}, ["act_4", "act_5"]),
    ],
)
def test_actions_are_listed_oldest_first_and_can_be_filtered(
    samples: Database, filters: dict[str, str], times: list[str]
) -> None:
    assert [each.id for each in samples.read_now(action_list.read, **filters).items] == times  # type: ignore[arg-type]


def test_actions_are_paged_with_a_cursor(samples: Database) -> None:
    first = samples.read_now(action_list.read, limit=3)
    second = samples.read_now(action_list.read, limit=3, after=first.next)
    assert [each.id for each in (*first.items, *second.items)] == ["act_1", "act_2", "act_3", "act_4", "act_5"]
    assert (first.next, second.next) == ("3", None)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"state": "dead"}, 'unknown action state "dead" (known: queued, running, succeeded, failed)'),
        ({"connection": "acne"}, 'unknown connection "acne" (did you mean "acme"?)'),
        ({"incident": "a\x00b"}, 'invalid id "a\ufffdb"'),
        ({"operation": "a\x00b"}, 'invalid id "a\ufffdb"'),
        ({"after": "act_1"}, 'invalid cursor in "after"'),
        ({"limit": 0}, "limit is 0, must be 1 to 500"),
    ],
)
def test_a_filter_with_an_unknown_name_is_an_error(samples: Database, filters: dict[str, object], message: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        samples.read_now(action_list.read, **filters)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_an_action_that_has_ended_shows_its_outcome(samples: Database) -> None:
    done, failed = samples.read_now(action_list.read, limit=2).items
    assert (done.state, done.outcome, done.result, done.error) == (
        ActionState.SUCCEEDED,
        Outcome.DONE,
        {"id": "P1"},
        None,
    )
    assert done.notify == ("ops",)
    assert failed.error == action_list.ActionFailure("not_found", "PagerDuty has no incident P2", 404, 2100)
    assert (failed.incident_id, failed.tries, failed.next_try_at) == ("P2", 2, None)


def test_only_an_action_that_will_be_retried_shows_the_time_of_its_next_attempt(
    samples: Database, clock: ManualClock
) -> None:
    times = {each.id: each.next_try_at for each in samples.read_now(action_list.read).items}
    assert {name: at for name, at in times.items() if at is not None} == {"act_4": clock.now + timedelta(seconds=10)}


def test_an_action_is_shown_by_its_id_with_its_secrets_masked(samples: Database) -> None:
    item = samples.read_now(action_list.find, "act_5")
    assert item is not None
    assert item.parameters == {"service_key": MASK, "description": sample_data.HOSTILE}
    assert samples.read_now(action_list.find, "act_9") is None
    assert samples.read_now(action_list.find, "act\x00") is None


def test_status_counts_pending_running_and_recently_failed_actions_of_each_connection(
    database: Database, settings: Settings, clock: ManualClock
) -> None:
    database.write_now(sample_data.fill, clock.now)

    def queues() -> list[action_list.ActionQueue]:
        times = database.read_now(connection_health.read, settings.connections, (), clock.now)
        return [each.actions for each in times]

    now = clock.now
    minute = timedelta(minutes=1)
    assert queues() == [
        action_list.ActionQueue(1, now - minute, 1, now - 2 * minute, failed=1, failed_within=3600),
        action_list.ActionQueue(1, now, 0, None, failed=0, failed_within=3600),
    ]
    clock.advance(60 * 57 + 1)
    assert [each.failed for each in queues()] == [0, 0]
    database.write_now(lambda tx: tx.execute(schema.actions.delete()) and None)
    assert queues()[0] == action_list.ActionQueue(0, None, 0, None, failed=0, failed_within=3600)
