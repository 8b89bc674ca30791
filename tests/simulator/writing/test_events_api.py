"""The Events API in both versions: accepted events, and their effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pagerduty
import pytest

from daemon.simulator import Account, Fault, Simulator
from tests.simulator.documented import HOOKS
from tests.simulator.writing.client import Events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

    from daemon.simulator.directory import Service
    from tests.conftest import ManualClock

V1 = "/generic/2010-04-15/create_event.json"
V2 = "/v2/enqueue"
PAYLOAD = {"summary": "Disk full", "source": "db-1", "severity": "critical"}


@pytest.fixture
def service(account: Account) -> Service:
    return account.directory.services[1]


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """Yield a client without a key: each event carries its own."""
    with httpx.Client(base_url=url, trust_env=False, verify=False, event_hooks=HOOKS) as client:
        yield client


@pytest.fixture
def events(url: str, service: Service) -> Iterator[Events]:
    """Yield PagerDuty's client of version 2."""
    with Events(service.key, base_url=url, trust_env=False, verify=False, event_hooks=HOOKS) as client:
        yield client


def send(http: httpx.Client, service: Service, kind: str = "trigger", **more: object) -> httpx.Response:
    """Send an event of version 1."""
    body = {"service_key": service.key, "event_type": kind, "description": "Disk full"} | more
    return http.post(V1, json={name: value for name, value in body.items() if value is not None})


def test_a_trigger_creates_an_incident_of_its_service(account: Account, http: httpx.Client, service: Service) -> None:
    answer = send(http, service, incident_key="db-1/disk", details={"free": "1 %"})
    accepted = {"status": "success", "message": "Event processed", "incident_key": "db-1/disk"}
    assert (answer.status_code, answer.json()) == (200, accepted)
    (incident,) = account.incidents.values()
    assert (incident.title, incident.key, incident.service) == ("Disk full", "db-1/disk", service)
    (effect,) = account.effects
    assert (effect.what, effect.path, effect.who, effect.detail) == ("trigger", V1, service.id, "db-1/disk")
    assert [each.type for each in account.log.entries][:2] == ["trigger_log_entry", "assign_log_entry"]


def test_without_a_key_each_trigger_creates_another_incident(
    account: Account, http: httpx.Client, service: Service
) -> None:
    keys = [send(http, service).json()["incident_key"] for _ in range(2)]
    assert keys == [incident.key for incident in account.incidents.values()]
    assert len(set(keys)) == 2


def test_a_trigger_with_the_key_of_an_open_incident_only_adds_an_entry(
    account: Account, http: httpx.Client, service: Service
) -> None:
    for _ in range(2):
        assert send(http, service, incident_key="db-1/disk").status_code == 200
    assert len(account.incidents) == 1
    assert [each.what for each in account.effects] == ["trigger", "retrigger"]
    assert [each.type for each in account.log.entries][-1] == "trigger_log_entry"


def test_a_trigger_creates_a_new_incident_instead_of_reopening_a_resolved_one(
    account: Account, http: httpx.Client, service: Service
) -> None:
    send(http, service, incident_key="db-1/disk")
    send(http, service, "resolve", incident_key="db-1/disk")
    send(http, service, incident_key="db-1/disk")
    assert [each.status for each in account.incidents.values()] == ["resolved", "triggered"]
    assert [each.reopened for each in account.effects] == [False] * 3


def test_incident_keys_are_separate_per_service(account: Account, http: httpx.Client) -> None:
    for service in account.directory.services[:2]:
        send(http, service, incident_key="disk")
    assert len(account.incidents) == 2


def test_events_acknowledge_and_resolve_in_the_name_of_the_service(
    account: Account, http: httpx.Client, service: Service
) -> None:
    send(http, service, incident_key="disk")
    for kind in ("acknowledge", "acknowledge", "resolve", "resolve"):
        answer = send(http, service, kind, incident_key="disk", description=None)
        assert (answer.status_code, answer.json()["incident_key"]) == (200, "disk")
    assert [each.what for each in account.effects] == ["trigger", "acknowledge", "resolve"]
    entries = [(each.type, each.agent["id"], each.channel["type"]) for each in account.log.entries[-2:] if each.agent]
    assert entries == [("acknowledge_log_entry", service.id, "api"), ("resolve_log_entry", service.id, "api")]


def test_an_acknowledgement_by_a_service_names_the_service(
    account: Account, http: httpx.Client, service: Service, url: str
) -> None:
    send(http, service, incident_key="disk")
    send(http, service, "acknowledge", incident_key="disk")
    listed = http.get("/incidents", headers={"Authorization": f"Token token={account.api_key}"}).json()["incidents"]
    (acknowledgement,) = listed[0]["acknowledgements"]
    assert acknowledgement["acknowledger"]["type"] == "service_reference"
    assert acknowledgement["acknowledger"]["id"] == service.id


@pytest.mark.parametrize("kind", ["acknowledge", "resolve"])
def test_an_event_for_an_unknown_incident_is_accepted_without_effect(
    account: Account, http: httpx.Client, service: Service, kind: str
) -> None:
    assert send(http, service, kind, incident_key="unknown").status_code == 200
    assert (account.incidents, account.effects) == ({}, [])


def test_an_event_may_be_accepted_and_suppressed(account: Account, http: httpx.Client, service: Service) -> None:
    account.habits.suppressed = True
    answer = send(http, service)
    assert (answer.status_code, len(answer.json()["incident_key"])) == (200, 32)
    assert (account.incidents, account.effects) == ({}, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"service_key": None},
        {"service_key": "short"},
        {"service_key": "0" * 32},
        {"service_key": 7},
        {"event_type": None},
        {"event_type": "explode"},
        {"event_type": ["trigger"]},
        {"event_type": "resolve"},
        {"event_type": "acknowledge", "incident_key": ""},
        {"incident_key": "k" * 256},
        {"incident_key": 7},
        {"description": None},
        {"description": " "},
        {"description": 7},
        {"description": "d" * 1025},
    ],
)
def test_an_invalid_event_is_refused(
    account: Account, http: httpx.Client, service: Service, wrong: dict[str, Any]
) -> None:
    answer = send(http, service, **wrong)
    assert (answer.status_code, answer.json()["status"]) == (400, "invalid event")
    assert len(answer.json()["errors"]) == 1
    assert (account.incidents, account.effects) == ({}, [])


def test_the_lengths_of_description_and_key_are_limited(account: Account, http: httpx.Client, service: Service) -> None:
    assert send(http, service, description="d" * 1024, incident_key="k" * 255).status_code == 200
    (incident,) = account.incidents.values()
    assert (len(incident.title), len(incident.key or "")) == (1024, 255)


@pytest.mark.parametrize("path", [V1, V2])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_an_invalid_body_is_refused(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body)
    assert (answer.status_code, answer.json()["status"]) == (400, "invalid event")


@pytest.mark.parametrize("path", [V1, V2])
def test_events_accept_only_post(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 405


def test_the_client_library_sends_events_of_version_2(account: Account, events: Events, service: Service) -> None:
    key = events.trigger("Disk full", "db-1", severity="critical")
    (incident,) = account.incidents.values()
    assert (incident.key, incident.title, incident.service) == (key, "Disk full", service)
    assert events.trigger("Disk full", "db-1", dedup_key=key) == key
    assert events.acknowledge(key) == events.resolve(key) == key
    assert [each.what for each in account.effects] == ["trigger", "retrigger", "acknowledge", "resolve"]
    assert {each.path for each in account.effects} == {V2}


def test_version_2_responds_202(http: httpx.Client, service: Service) -> None:
    event = {"routing_key": service.key, "event_action": "trigger", "dedup_key": "disk", "payload": PAYLOAD}
    answer = http.post(V2, json=event)
    accepted = {"status": "success", "message": "Event processed", "dedup_key": "disk"}
    assert (answer.status_code, answer.json()) == (202, accepted)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "Disk full",
        {"summary": "Disk full", "severity": "critical"},
        {"summary": "Disk full", "source": "db-1"},
        {"summary": "Disk full", "source": "db-1", "severity": "bad"},
        {"source": "db-1", "severity": "critical"},
        {"summary": "s" * 1025, "source": "db-1", "severity": "critical"},
    ],
)
def test_version_2_requires_summary_source_and_severity(account: Account, events: Events, payload: object) -> None:
    with pytest.raises(pagerduty.HttpError) as caught:
        events.send_event("trigger", payload=payload)
    assert caught.value.response is not None
    assert caught.value.response.status_code == 400
    assert not account.incidents


@pytest.mark.parametrize(("path", "status"), [(V1, 403), (V2, 429)])
def test_each_version_has_its_own_rate_limit_response(
    account: Account, simulator: Simulator, http: httpx.Client, service: Service, path: str, status: int
) -> None:
    simulator.faults.once(Fault.THROTTLED)
    event = {"service_key": service.key, "event_type": "trigger", "description": "Disk full"}
    event |= {"routing_key": service.key, "event_action": "trigger"}
    assert http.post(path, json=event | {"payload": PAYLOAD}).status_code == status
    assert not account.incidents
    assert http.post(path, json=event | {"payload": PAYLOAD}).is_success
    assert len(account.incidents) == 1


def test_events_are_recorded_as_calls_but_do_not_count_towards_the_rest_limit(
    account: Account, http: httpx.Client, service: Service, simulator: Simulator
) -> None:
    answers = [send(http, service) for _ in range(3)]
    assert not any("ratelimit-limit" in answer.headers for answer in answers)
    assert [(call.account, call.method, call.path, call.status) for call in simulator.calls] == [
        (account.name, "POST", V1, 200)
    ] * 3
    left = http.get("/users", headers={"Authorization": f"Token token={account.api_key}"}).headers
    assert left["ratelimit-remaining"] == "959"


def test_an_integration_key_identifies_its_account(clock: ManualClock, portal: BlockingPortal) -> None:
    one, two = (Account(name, f"key-{name}", clock=clock, seed=3) for name in ("one", "two"))
    with portal.wrap_async_context_manager(Simulator([one, two]).serving()) as url:
        body = {"service_key": two.directory.services[0].key, "event_type": "trigger", "description": "Disk full"}
        assert httpx.post(f"{url}{V1}", json=body, trust_env=False).status_code == 200
    assert (len(one.incidents), len(two.incidents)) == (0, 1)
