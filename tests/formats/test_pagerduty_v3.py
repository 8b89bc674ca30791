"""The format pagerduty-v3: the shape that PagerDuty's receivers expect, and a signature that they can verify."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from daemon import formats
from daemon.formats import samples
from daemon.outbound.sender import Sender
from daemon.settings import Options, Target
from tests.formats.rendered import BARE, BATCH, EVENTS, OTHERS, body, changed, content, with_incident
from tests.harness import recordings
from tests.harness.receivers import SECRET

V3 = formats.REGISTRY["pagerduty-v3"]
ASSIGNED = samples.event("incident.assigned")
TRIGGERED = samples.event("incident.triggered")
KNOWN = [message for message in (*EVENTS, *BARE) if V3.supports(message.type)]
DATA = {
    "incident.annotated": "incident_note",
    "incident.status_update_published": "incident_status_update",
    "incident.responder.added": "incident_responder",
    "incident.responder.replied": "incident_responder",
    "incident.conference_bridge.updated": "incident_conference_bridge",
}
REFERENCE = {"id", "type", "self", "html_url", "summary"}


def headers(text: bytes, *secrets: str, name: str = "ops") -> dict[str, str]:
    return dict(V3.sign(name, text, secrets))


def is_genuine(signatures: str, secret: str, text: bytes) -> bool:
    """PagerDuty's documented scheme, written down once more: any signature of version 1 may fit."""
    mine = "v1=" + hmac.new(secret.encode("utf-8"), text, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(mine, each) for each in signatures.split(","))


def test_a_receiver_verifies_the_body_with_the_secret_as_text() -> None:
    text = content("pagerduty-v3", TRIGGERED).body
    signatures = headers(text, SECRET)["X-PagerDuty-Signature"]
    assert is_genuine(signatures, SECRET, text)
    assert not is_genuine(signatures, SECRET.removeprefix("whsec_"), text)
    assert not is_genuine(signatures, SECRET, text + b" ")


def test_during_rotation_there_is_one_signature_per_secret_separated_by_a_comma() -> None:
    text = content("pagerduty-v3", TRIGGERED).body
    signatures = headers(text, "whsec_new", "whsec_old")["X-PagerDuty-Signature"]
    assert is_genuine(signatures, "whsec_new", text)
    assert is_genuine(signatures, "whsec_old", text)
    assert re.fullmatch(r"v1=[0-9a-f]{64},v1=[0-9a-f]{64}", signatures)


def test_a_request_has_a_stable_message_id_and_subscription_id() -> None:
    def sent(message: str, target: str) -> dict[str, str]:
        rendered = content("pagerduty-v3", replace(TRIGGERED, id=message))
        given = Target(target, SecretStr("http://127.0.0.1:9/"), (SecretStr(SECRET),))
        return Sender(given, lambda text, secrets: V3.sign(target, text, secrets)).headers(message, rendered, 1)

    once, again, other = sent("msg_1", "ops"), sent("msg_1", "ops"), sent("msg_2", "chat")
    assert once == again
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", once["X-Webhook-Id"])
    assert re.fullmatch(r"P[0-9A-F]{13}", once["x-webhook-subscription"])
    assert once["X-Webhook-Id"] != other["X-Webhook-Id"]
    assert once["x-webhook-subscription"] != other["x-webhook-subscription"]
    assert once["webhook-id"] == "msg_1"


@pytest.mark.parametrize("message", KNOWN, ids=lambda message: message.type)
def test_the_envelope_has_every_key_whatever_pagerduty_returned(message: Any) -> None:
    rendered = body("pagerduty-v3", message)
    assert rendered.keys() == {"event"}
    event = rendered["event"]
    assert event.keys() == {"id", "event_type", "resource_type", "occurred_at", "agent", "client", "data"}
    assert len(event["id"]) == 26
    assert (event["resource_type"], event["client"]) == ("incident", None)
    assert event["occurred_at"] == "2026-01-01T12:00:00.000Z"
    assert event["data"]["type"] == DATA.get(message.type, "incident")


def test_an_incident_has_the_shape_of_pagerdutys_webhooks() -> None:
    data = body("pagerduty-v3", samples.event("incident.acknowledged"))["event"]["data"]
    assert (data["number"], data["title"], data["status"]) == (1, samples.TITLE, "acknowledged")
    assert data["created_at"] == "2026-01-01T12:00:00Z"
    for thing, kind in (("service", "service"), ("escalation_policy", "escalation_policy"), ("priority", "priority")):
        assert data[thing].keys() == REFERENCE
        assert data[thing]["type"] == f"{kind}_reference"
    assert [each.keys() for each in (*data["assignees"], *data["teams"])] == [REFERENCE, REFERENCE]
    assert (data["conference_bridge"], data["resolve_reason"]) == (None, None)


def test_the_status_is_that_of_the_event_even_if_the_incident_has_changed_since() -> None:
    moved_on = with_incident(TRIGGERED, status="resolved", assignments=[])
    assert body("pagerduty-v3", moved_on)["event"]["data"]["status"] == "triggered"
    data = body("pagerduty-v3", with_incident(samples.event("incident.resolved"), status="triggered"))["event"]["data"]
    assert (data["status"], data["assignees"]) == ("resolved", [])


def test_an_assignment_names_its_own_assignees_even_if_others_followed() -> None:
    data = body("pagerduty-v3", changed(ASSIGNED, assignees=[{"id": "PFIRST", "type": "user_reference"}]))["event"][
        "data"
    ]
    assert [each["id"] for each in data["assignees"]] == ["PFIRST"]


def test_a_note_refers_to_its_incident_by_its_title() -> None:
    data = body("pagerduty-v3", samples.event("incident.annotated"))["event"]["data"]
    assert data.keys() == {"incident", "id", "content", "trimmed", "type"}
    assert (data["id"], data["content"], data["trimmed"]) == ("RTESTENTRY", samples.NOTE, False)
    assert data["incident"].keys() == REFERENCE
    assert data["incident"]["summary"] == samples.TITLE
    bare = body("pagerduty-v3", samples.bare_event("incident.annotated"))["event"]["data"]
    assert (bare["incident"]["summary"], bare["id"]) == ("Test of pagerelay", "evt_test" + "0" * 22)


@pytest.mark.parametrize("kind", DATA)
def test_data_other_than_an_incident_has_the_documented_keys_and_refers_to_its_incident(kind: str) -> None:
    keys = {
        "incident_note": {"id", "content", "trimmed"},
        "incident_status_update": {"id", "message", "trimmed"},
        "incident_responder": {"user", "escalation_policy", "message", "state"},
        "incident_conference_bridge": {"conference_numbers", "conference_url"},
    }
    for message in (samples.event(kind), samples.bare_event(kind)):
        data = body("pagerduty-v3", message)["event"]["data"]
        assert data.keys() == {"incident", "type"} | keys[DATA[kind]]
        assert (data["incident"].keys(), data["incident"]["type"]) == (REFERENCE, "incident_reference")


def test_status_updates_responders_and_bridges_have_the_values_of_their_change() -> None:
    def data(kind: str) -> Any:
        return body("pagerduty-v3", samples.event(f"incident.{kind}"))["event"]["data"]

    update = data("status_update_published")
    assert (update["id"], update["message"], update["trimmed"]) == ("RTESTENTRY", 'A fix is on its way, "soon".', False)
    added, replied = data("responder.added"), data("responder.replied")
    assert (added["state"], replied["state"], added["message"]) == ("pending", "joined", "Please help.")
    assert (added["user"].keys(), added["user"]["id"]) == (REFERENCE, "PTESTRESPONDER")
    bridge = data("conference_bridge.updated")
    assert bridge["conference_numbers"] == [{"label": "", "number": "+1 202-555-0100,,1234#"}]
    assert bridge["conference_url"] == "https://meet.example.com/1"


def test_an_agent_always_has_a_summary_and_a_page() -> None:
    mere = changed(TRIGGERED, agent={"id": "PA", "type": "service_reference"})
    agent = body("pagerduty-v3", mere)["event"]["agent"]
    assert agent == {
        "id": "PA",
        "type": "service_reference",
        "self": None,
        "html_url": "https://example.pagerduty.com/services/PA",
        "summary": "PA",
    }
    assert body("pagerduty-v3", changed(TRIGGERED, agent={"type": "user"}))["event"]["agent"] is None


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("assign_log_entry", "incident.reassigned"),
        ("escalate_log_entry", "incident.escalated"),
        ("delegate_log_entry", "incident.delegated"),
        (None, "incident.reassigned"),
    ],
)
def test_an_assignment_is_named_after_its_log_entry(record: str | None, told: str) -> None:
    later = replace(
        ASSIGNED, about=replace(samples.event_of(ASSIGNED), occurred_at=samples.THEN + timedelta(minutes=5))
    )
    entry = None if record is None else {"id": "R1", "type": record, "channel": "website"}
    assert body("pagerduty-v3", changed(later, log_entry=entry))["event"]["event_type"] == told


@pytest.mark.parametrize(
    ("record", "channel", "seconds", "sent"),
    [
        ("assign_log_entry", "auto", 0, False),
        ("assign_log_entry", "auto", 1, False),
        ("assign_log_entry", "auto", 2, True),
        ("assign_log_entry", "website", 0, True),
        ("escalate_log_entry", "auto", 0, True),
        ("delegate_log_entry", "auto", 0, True),
        (None, None, 60, True),
    ],
)
def test_the_assignment_at_creation_is_not_sent_and_any_other_is(
    record: str | None, channel: str | None, seconds: int, *, sent: bool
) -> None:
    entry = None if record is None else {"id": "R1", "type": record, "channel": channel}
    message = changed(ASSIGNED, log_entry=entry)
    event = samples.event_of(message)
    event = replace(event, occurred_at=event.occurred_at + timedelta(seconds=seconds))
    assert V3.sends(event) is sent
    assert (V3.content(replace(message, about=event), Options()) is not None) is sent


def test_an_assignment_of_an_incident_without_a_creation_time_is_sent() -> None:
    assert V3.sends(samples.event_of(samples.bare_event("incident.assigned")))


def test_pagerdutys_own_event_types_are_sent_and_no_others() -> None:
    """PagerDuty's receivers answer errors to types that they do not know."""
    names = {body("pagerduty-v3", message)["event"]["event_type"] for message in KNOWN}
    known = {
        "triggered",
        "acknowledged",
        "unacknowledged",
        "resolved",
        "reopened",
        "annotated",
        "priority_updated",
        "service_updated",
        "incident_type.changed",
        "responder.added",
        "responder.replied",
        "status_update_published",
        "conference_bridge.updated",
    }
    assert names == {f"incident.{name}" for name in (*known, "escalated", "reassigned")}
    for message in EVENTS:
        assert V3.sends(samples.event_of(message)) == V3.supports(message.type)
        assert (V3.content(message, Options()) is None) != V3.supports(message.type)


def test_an_invalid_url_is_passed_on() -> None:
    event = with_incident(TRIGGERED, html_url="https://[not-an-address")
    assert body("pagerduty-v3", event)["event"]["data"]["html_url"] == "https://[not-an-address"


def test_a_reopened_event_has_its_time() -> None:
    data = body("pagerduty-v3", samples.event("incident.reopened"))["event"]["data"]
    assert (data["reopened_at"], data["status"]) == ("2026-01-01T12:00:00Z", "triggered")


@pytest.mark.parametrize("message", [*OTHERS, BATCH], ids=lambda message: message.type)
def test_actions_alerts_and_batches_are_not_supported(message: Any) -> None:
    assert V3.content(message, Options()) is None


def test_pagerdutys_recordings_have_the_keys_that_are_sent() -> None:
    """Where the recordings are; older ones have fewer keys than newer ones, and none has one that is not sent."""
    path = recordings.FOLDER / "records" / "v3-webhooks.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))["recorded"] if path.exists() else {}
    for kind, webhook in recorded.items():
        known = {"incident.reassigned", "incident.escalated", "incident.delegated"}
        message = ASSIGNED if kind in known else samples.event(kind)
        rendered = body("pagerduty-v3", message)["event"]
        assert rendered.keys() == webhook["event"].keys()
        assert rendered["data"].keys() >= webhook["event"]["data"].keys()
        for key, value in webhook["event"]["data"].items():
            if isinstance(value, dict) and isinstance(rendered["data"][key], dict):
                assert rendered["data"][key].keys() == value.keys()
        assert rendered["agent"].keys() == webhook["event"]["agent"].keys()
