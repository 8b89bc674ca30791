"""What holds for every format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon import formats, triggers
from daemon.formats import samples, standard
from daemon.model import ActionState
from daemon.settings import Options
from tests.formats.rendered import BARE, EVENTS, OTHERS

if TYPE_CHECKING:
    from daemon.model import Message


@pytest.mark.parametrize("name", formats.REGISTRY)
@pytest.mark.parametrize("message", [*EVENTS, *BARE, *OTHERS], ids=lambda message: message.type)
def test_every_message_renders_to_the_same_content_or_is_declared_unsupported(name: str, message: Message) -> None:
    kind = formats.REGISTRY[name]
    rendered = kind.content(message, Options(template='{"text": {{ type | tojson }}}'))
    if not kind.supports(message.type):
        assert rendered is None
        return
    assert rendered is not None
    assert rendered == kind.content(message, Options(template='{"text": {{ type | tojson }}}'))
    assert "json" in rendered.content_type


def test_samples_are_recognizable_by_their_ids() -> None:
    for message in (*EVENTS, *BARE, *OTHERS):
        assert message.id.startswith("msg_test")
    events = [samples.event_of(message) for message in (*EVENTS, *BARE)]
    assert {event.id[:8] for event in events} == {"evt_test"}
    assert {len(event.id) for event in events} == {30}
    assert {event.incident_id[:5] for event in events} == {"PTEST"}
    assert [message.type for message in EVENTS] == list(triggers.REGISTRY)
    other = samples.event("incident.triggered", mark="1" * 22)
    assert (other.id, samples.event_of(other).id) == ("msg_test" + "1" * 22, "evt_test" + "1" * 22)
    assert {samples.action().type, samples.action(ActionState.FAILED).type} == {"action.succeeded", "action.failed"}
    with pytest.raises(TypeError):
        samples.event_of(samples.alert())


def test_a_sample_has_every_documented_key() -> None:
    for message in EVENTS:
        data = standard.document(message)["data"]
        assert data["incident"]["title"] == samples.TITLE
        assert ("note" in data) == (message.type == "incident.annotated")
        assert ("assignees" in data) == (message.type == "incident.assigned")
