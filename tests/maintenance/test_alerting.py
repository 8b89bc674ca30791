"""Alerts about failing targets and connections: kinds, recipients, and frequency."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import sqlalchemy as sa

from daemon import maintenance
from daemon.formats import REGISTRY
from daemon.model import PAUSED_BY_HAND
from daemon.settings import Options
from daemon.storage import connections, messages, schema, targets
from tests.delivery.loop_setup import fill, target

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

AFTER = timedelta(minutes=15)
WATCHED = {name: target(name, "http://127.0.0.1:1/") for name in ("ops", "chat", "pager")}


class Watch:
    """A database with failures, and the chore that alerts. ``woken`` are the targets with new messages."""

    def __init__(self, database: Database, clock: ManualClock, to: tuple[str, ...] = ("pager", "ops")) -> None:
        self.database, self.clock, self.woken = database, clock, set[str]()
        self.chore = maintenance.Alerting(database, WATCHED, ["acme"], to, AFTER, self.woken.update)

        def prepare(tx: sa.Connection) -> None:
            connections.ensure(tx, ["acme"], (), clock())
            targets.ensure(tx, WATCHED)

        database.write_now(prepare)

    def set(self, table: sa.Table, name: str, **values: Any) -> None:
        """Change a row."""
        self.database.write_now(
            lambda tx: tx.execute(table.update().where(table.c.name == name).values(values)) and None
        )

    def get(self, table: sa.Table, name: str) -> Any:
        return self.database.read_now(lambda tx: tx.execute(sa.select(table).where(table.c.name == name)).one())

    async def fail(self, table: sa.Table, name: str) -> datetime:
        """Let something fail for long, and let it be said."""
        since = self.clock.now
        self.set(table, name, failing_since=since, last_error="answered 500")
        await self.after(AFTER)
        return since

    async def after(self, span: timedelta = timedelta(seconds=5)) -> None:
        """Let the chore look, that much later."""
        self.clock.advance(span.total_seconds())
        await self.chore.run()

    def said(self) -> list[tuple[str, Any]]:
        """Return each message with its data, in order of creation."""
        rows = self.database.read_now(lambda tx: tx.execute(sa.select(schema.messages)).all())
        loaded = self.database.read_now(messages.load, [row.id for row in rows if row.alert])
        contents = [REGISTRY["standard"].content(each, Options()) for each in loaded.values()]
        bodies = [orjson.loads(each.body) for each in contents if each is not None]
        return [(each["type"], each["data"]) for each in sorted(bodies, key=lambda each: each["timestamp"])]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.said()]

    def told(self) -> list[str]:
        """Return the recipients, in the order of deliveries."""
        table = schema.deliveries
        alerts = table.c.message_id.in_(sa.select(schema.messages.c.id).where(schema.messages.c.alert.is_not(None)))
        chosen = sa.select(table.c.target).where(alerts).order_by(table.c.id)
        return list(self.database.read_now(lambda tx: tx.execute(chosen).scalars().all()))


@pytest.fixture
def watch(database: Database, clock: ManualClock) -> Watch:
    return Watch(database, clock)


async def test_a_target_failing_for_long_causes_one_alert_and_none_to_itself(watch: Watch) -> None:
    fill(watch.database, ["P1", "P2"], ["ops"])
    since = await watch.fail(schema.targets, "ops")
    await watch.after()
    ((kind, data),) = watch.said()
    assert (kind, watch.told(), watch.woken) == ("target.failing", ["pager"], {"pager", "ops"})
    assert data == {
        "name": "ops",
        "failing_since": since.isoformat().replace("+00:00", "Z"),
        "refusing_since": None,
        "last_error": "answered 500",
        "paused_at": None,
        "paused_reason": None,
        "pending": 2,
        "oldest_pending_at": since.isoformat().replace("+00:00", "Z"),
        "dead": 0,
    }


async def test_a_short_failure_causes_no_alert(watch: Watch) -> None:
    watch.set(schema.targets, "ops", failing_since=watch.clock.now)
    watch.set(schema.connections, "acme", failing_since=watch.clock.now)
    await watch.after(AFTER - timedelta(seconds=1))
    watch.set(schema.targets, "ops", failing_since=None, last_success_at=watch.clock.now)
    watch.set(schema.connections, "acme", failing_since=None)
    await watch.after(AFTER)
    assert watch.said() == []


async def test_a_recovery_causes_one_alert_if_its_failure_caused_one(watch: Watch) -> None:
    await watch.fail(schema.targets, "ops")
    watch.set(schema.targets, "ops", failing_since=None)  # resumed by a person: that proves nothing
    await watch.after()
    assert watch.kinds() == ["target.failing"]
    watch.set(schema.targets, "ops", last_success_at=watch.clock.advance(1))
    for _ in range(2):
        await watch.after()
    assert watch.kinds() == ["target.failing", "target.recovered"]
    assert watch.get(schema.targets, "ops").alerted_at is None


async def test_each_failure_causes_its_own_alert(watch: Watch) -> None:
    for _ in range(2):
        await watch.fail(schema.targets, "ops")
        watch.set(schema.targets, "ops", failing_since=None, last_success_at=watch.clock.advance(1))
        await watch.after()
    assert watch.kinds() == ["target.failing", "target.recovered"] * 2


async def test_a_target_paused_by_a_410_causes_an_alert_and_a_manual_pause_does_not(watch: Watch) -> None:
    watch.set(schema.targets, "chat", paused_at=watch.clock.now, paused_reason=PAUSED_BY_HAND)
    watch.set(schema.targets, "ops", paused_at=watch.clock.now, paused_reason="answered 410")
    for _ in range(2):
        await watch.after()
    ((kind, data),) = watch.said()
    assert (kind, data["name"], data["paused_reason"]) == ("target.paused", "ops", "answered 410")


async def test_a_target_that_rejects_every_message_causes_an_alert_and_another_when_it_takes_one(watch: Watch) -> None:
    watch.set(schema.targets, "ops", last_success_at=watch.clock.now, refusing_since=watch.clock.now, last_error="400")
    await watch.after(AFTER - timedelta(seconds=1))
    assert watch.kinds() == []
    for _ in range(2):
        await watch.after()
    ((kind, data),) = watch.said()
    assert (kind, data["name"], data["failing_since"]) == ("target.refusing", "ops", None)
    assert data["refusing_since"] is not None
    watch.set(schema.targets, "ops", refusing_since=None, last_success_at=watch.clock.advance(1))
    await watch.after()
    assert watch.kinds() == ["target.refusing", "target.recovered"]


async def test_a_target_paused_after_a_failing_alert_causes_another_alert(watch: Watch) -> None:
    await watch.fail(schema.targets, "ops")
    watch.set(schema.targets, "ops", failing_since=None, paused_at=watch.clock.advance(1), paused_reason="answered 410")
    await watch.after()
    assert watch.kinds() == ["target.failing", "target.paused"]


async def test_a_failing_and_recovering_connection_alerts_every_alert_target(watch: Watch) -> None:
    await watch.fail(schema.connections, "acme")
    watch.set(schema.connections, "acme", failing_since=None, last_error=None)
    for _ in range(2):
        await watch.after()
    said = watch.said()
    assert [kind for kind, _ in said] == ["connection.failing", "connection.recovered"]
    assert [(data["name"], data["last_error"]) for _, data in said] == [("acme", "answered 500"), ("acme", None)]
    assert watch.told() == ["pager", "ops", "pager", "ops"]


async def test_a_target_or_connection_removed_from_the_configuration_causes_no_alert(watch: Watch) -> None:
    old = {"name": "old", "failing_since": watch.clock.now}
    watch.database.write_now(lambda tx: tx.execute(schema.targets.insert().values(old)) and None)
    await watch.after(AFTER)
    assert watch.said() == []


async def test_no_alert_is_sent_if_the_failing_target_is_the_only_alert_target(
    database: Database, clock: ManualClock
) -> None:
    alone = Watch(database, clock, to=("ops",))
    await alone.fail(schema.targets, "ops")
    assert (alone.said(), alone.woken) == ([], set())
    assert database.read_now(lambda tx: tx.execute(sa.select(schema.messages)).all()) == []


async def test_an_alert_and_the_record_of_it_are_written_in_one_transaction(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulate kills in the middle of transactions; another replica's clock differs."""
    enqueue = messages.enqueue_alert

    def die(*arguments: Any) -> None:
        enqueue(*arguments)
        raise ZeroDivisionError

    monkeypatch.setattr(messages, "enqueue_alert", die)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await watch.fail(schema.targets, "ops")
        assert (watch.said(), watch.get(schema.targets, "ops").alerted_at) == ([], None)
    monkeypatch.undo()
    await watch.after()
    watch.set(schema.targets, "ops", alerted_at=None)  # the state that an earlier replica has read
    await watch.after()
    assert (watch.kinds(), watch.told()) == (["target.failing"], ["pager"])


async def test_a_clock_set_back_neither_suppresses_nor_duplicates_alerts(watch: Watch) -> None:
    await watch.fail(schema.targets, "ops")
    watch.clock.advance(-3600)
    await watch.after()
    assert watch.kinds() == ["target.failing"]
    await watch.fail(schema.targets, "ops")
    await watch.after()
    assert watch.kinds() == ["target.failing"] * 2
