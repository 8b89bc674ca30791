"""Actions on one incident are numbered in the order in which they were accepted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.storage import action_queue, schema
from daemon.storage.database import Database

if TYPE_CHECKING:
    from tests.conftest import ManualClock


def test_an_action_waits_for_an_earlier_one_on_its_incident_that_is_being_accepted(
    database: Database, clock: ManualClock
) -> None:
    other = Database(database.url.render_as_string(hide_password=False), clock=clock)
    entered, accepted = threading.Event(), threading.Event()

    def request(name: str, incident: str = "P1") -> action_queue.NewAction:
        return action_queue.NewAction(name, "acme", {"incidentId": incident, "userId": "P2"}, incident, None)

    def first(tx: sa.Connection) -> None:
        action_queue.accept(tx, request("AcknowledgeIncident"), clock())
        entered.set()
        assert not accepted.wait(0.2), "the second one must not be accepted before the first one has committed"

    def second() -> None:
        assert entered.wait(20)
        other.write_now(action_queue.accept, request("ResolveIncident"), clock())
        accepted.set()

    thread = threading.Thread(target=second)
    thread.start()
    database.write_now(first)
    thread.join()
    other.close()
    operations = database.read_now(
        lambda tx: list(tx.execute(sa.select(schema.actions.c.operation).order_by(schema.actions.c.seq)).scalars())
    )
    assert operations == ["AcknowledgeIncident", "ResolveIncident"]
