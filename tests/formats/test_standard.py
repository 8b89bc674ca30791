"""The format standard: what it says of each type of event, and only of those."""

from __future__ import annotations

import pytest

from daemon.formats import samples, standard
from daemon.model import EventType

ALWAYS = {"event_id", "connection", "trigger", "operation", "detected_at", "detected_by", "agent", "incident"}


@pytest.mark.parametrize("kind", EventType)
def test_an_event_says_what_is_particular_to_its_type_and_nothing_else(kind: EventType) -> None:
    message = samples.event(kind)
    data = standard.document(message)["data"]
    particular = {EventType.ASSIGNED: "assignees", EventType.ANNOTATED: "note"}.get(kind)
    changes = samples.of(message).payload.get("changes")
    if changes is not None:
        assert data["changes"] == changes
        particular = "changes"
    assert data.keys() - ALWAYS == ({particular} if particular else set())


def test_only_what_the_connector_knows_has_an_operation() -> None:
    told = {kind: standard.document(samples.event(kind))["data"]["operation"] for kind in EventType}
    assert told[EventType.TRIGGERED] == "OnNewIncidentCreated"
    assert sum(operation is not None for operation in told.values()) == 5
