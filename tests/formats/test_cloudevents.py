"""The format cloudevents, read back by the CloudEvents project's own library."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from daemon import formats
from daemon.formats import samples, standard
from daemon.settings import Options
from daemon.text import iso
from tests.formats.rendered import BARE, BATCH, EVENTS, OTHERS, content

if TYPE_CHECKING:
    from daemon.model import Content

MODES = [None, "structured", "binary"]


def read(rendered: Content) -> Any:
    """Return the event as the library reads it."""
    return from_http_event(
        HTTPMessage({"content-type": rendered.content_type, **dict(rendered.headers)}, rendered.body)
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("message", [*EVENTS, *BARE, *OTHERS], ids=lambda message: message.type)
def test_the_cloudevents_library_reads_every_message(message: Any, mode: str | None) -> None:
    rendered = content("cloudevents", message, content_mode=mode)
    found, told = read(rendered), standard.document(message)
    assert (found.get_specversion(), found.get_id()) == ("1.0", message.id)
    assert found.get_type() == f"pagerelay.{message.type}"
    assert iso(found.get_time()) == told["timestamp"]
    assert found.get_datacontenttype() == "application/json"
    assert found.get_data() == told["data"]
    assert rendered == content("cloudevents", message, content_mode=mode)
    assert (rendered.content_type == "application/json") == (mode == "binary")


def test_an_event_has_a_source_and_a_subject() -> None:
    found = [read(content("cloudevents", message)) for message in (EVENTS[0], *OTHERS)]
    assert [(each.get_source(), each.get_subject()) for each in found] == [
        ("urn:pagerelay:connection:test", "PTESTINCIDENT"),
        ("urn:pagerelay:connection:test", "PTESTINCIDENT"),
        ("urn:pagerelay:connection:test", "PTESTINCIDENT"),
        *[("urn:pagerelay:daemon", None)] * len(samples.ALERTS),
    ]


def test_characters_not_allowed_in_headers_are_escaped_and_can_be_decoded() -> None:
    odd = 'P 1"%é🔥\r\n~'
    message = samples.event("incident.triggered")
    message = replace(message, about=replace(samples.event_of(message), incident_id=odd))
    rendered = content("cloudevents", message, content_mode="binary")
    assert dict(rendered.headers)["ce-subject"] == "P%201%22%25%C3%A9%F0%9F%94%A5%0D%0A~"
    assert read(rendered).get_subject() == odd


def test_batches_are_not_supported() -> None:
    assert formats.REGISTRY["cloudevents"].content(BATCH, Options()) is None
