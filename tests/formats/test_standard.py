"""The format standard: what it says of each type of event, and only of those."""

from __future__ import annotations

import pytest

from daemon import triggers
from daemon.formats import samples, standard

ALWAYS = {"event_id", "connection", "trigger", "operation", "detected_at", "detected_by", "agent", "incident"}


@pytest.mark.parametrize("kind", triggers.REGISTRY)
def test_an_event_has_only_the_details_of_its_type(kind: str) -> None:
    message = samples.event(kind)
    data = standard.document(message)["data"]
    by_type = {"incident.assigned": "assignees", "incident.annotated": "note", "incident.triggered": "details"}
    particular = by_type.get(kind)
    changes = samples.event_of(message).payload.get("changes")
    if changes is not None:
        assert data["changes"] == changes
        particular = "changes"
    assert data.keys() - ALWAYS == ({particular} if particular else set())


def test_only_events_that_the_connector_supports_have_an_operation_id() -> None:
    operations = {kind: standard.document(samples.event(kind))["data"]["operation"] for kind in triggers.REGISTRY}
    assert operations["incident.triggered"] == "OnNewIncidentCreated"
    assert sum(operation is not None for operation in operations.values()) == 5
