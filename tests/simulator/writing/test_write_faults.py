"""Writes that fail before or after their effect: the caller sees the same, the ledger of effects differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from daemon.simulator import Account, Fault, Simulator
from daemon.simulator.faults import AFTER_THE_EFFECT, BEFORE_THE_EFFECT, Faults
from daemon.simulator.http import SimRequest
from tests.harness.eventually import eventually_in_thread
from tests.simulator.writing.client import Rest, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock

    Write = tuple[str, str, dict[str, Any]]

V1 = "/generic/2010-04-15/create_event.json"
READ, UPDATE = SimRequest("GET", "/incidents"), SimRequest("PUT", "/incidents/P1")
NOTE, EVENT = SimRequest("POST", "/incidents/P1/notes"), SimRequest("POST", V1)
EITHER_WAY = [Fault.SERVER_ERROR, Fault.RESET, Fault.HANG]
PATIENCE = 10.0


@pytest.fixture
def http(url: str, account: Account, alice: User) -> Iterator[httpx.Client]:
    """Yield a client of Alice's that hides nothing."""
    headers = {"Authorization": f"Token token={account.api_key}", "From": alice.email}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, verify=False, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(params=["update", "many", "note", "snooze", "event"])
def write(request: pytest.FixtureRequest, account: Account, incident: Incident, alice: User) -> Write:
    """Return each kind of write: method, path, body."""
    path = f"/incidents/{incident.id}"
    account.acknowledge(incident.id, alice)
    resolved = {"type": "incident_reference", "status": "resolved", "id": incident.id}
    key = account.directory.services[0].key
    writes: dict[str, Write] = {
        "update": ("PUT", path, {"incident": resolved}),
        "many": ("PUT", "/incidents", {"incidents": [resolved]}),
        "note": ("POST", f"{path}/notes", {"note": {"content": "On it."}}),
        "snooze": ("POST", f"{path}/snooze", {"duration": 60}),
        "event": ("POST", V1, {"service_key": key, "event_type": "trigger", "description": "Disk full"}),
    }
    return writes[request.param]


def meet(http: httpx.Client, write: Write, simulator: Simulator, fault: Fault) -> str:
    """Send a write that meets a fault; how it looks to the caller, once the far side is through with it."""
    method, path, body = write
    simulator.faults.once(fault)
    patience = 0.2 if "hang" in fault else PATIENCE
    try:
        answer = http.request(method, path, json=body, timeout=httpx.Timeout(PATIENCE, read=patience))
    except httpx.TransportError as error:
        seen = type(error).__name__
    else:
        seen = f"{answer.status_code // 100}xx {answer.headers.get('content-type', 'untyped').partition(';')[0]}"
    eventually_in_thread(lambda: simulator.calls)
    assert [call.fault for call in simulator.calls] == [fault]
    return seen


LOOKS = {
    "server_error": "5xx text/html",
    "reset": "ReadError",
    "hang": "ReadTimeout",
    "cut": "RemoteProtocolError",
    "not_json": "2xx text/html",
}


@pytest.mark.parametrize("fault", sorted(BEFORE_THE_EFFECT))
def test_a_write_that_fails_before_its_effect_changes_nothing(
    account: Account, http: httpx.Client, write: Write, simulator: Simulator, fault: Fault
) -> None:
    entries = len(account.log.entries)
    assert meet(http, write, simulator, fault) == LOOKS[fault.removesuffix("_before")]
    assert (account.effects, len(account.log.entries)) == ([], entries)


@pytest.mark.parametrize("fault", sorted(AFTER_THE_EFFECT))
def test_a_write_that_fails_after_its_effect_looks_the_same_and_has_changed_something(
    account: Account, http: httpx.Client, write: Write, simulator: Simulator, fault: Fault
) -> None:
    entries = len(account.log.entries)
    assert meet(http, write, simulator, fault) == LOOKS[fault.removesuffix("_after")]
    assert len(account.effects) == 1
    assert len(account.log.entries) > entries


@pytest.mark.parametrize(
    ("fault", "looks", "effects"),
    [
        (Fault.RATE_LIMITED, "4xx untyped", 0),
        (Fault.NOT_JSON, "2xx text/html", 0),
        (Fault.SLOW, "2xx application/json", 1),
        (Fault.CUT, "RemoteProtocolError", 1),
    ],
)
def test_rate_limits_and_proxy_errors_precede_the_effect_and_broken_responses_follow_it(
    account: Account,
    http: httpx.Client,
    incident: Incident,
    simulator: Simulator,
    fault: Fault,
    looks: str,
    effects: int,
) -> None:
    write = ("POST", f"/incidents/{incident.id}/notes", {"note": {"content": "On it."}})
    assert meet(http, write, simulator, fault) == looks
    assert len(account.effects) == effects


def test_a_real_rate_limit_stops_a_write_too(clock: ManualClock, portal: BlockingPortal) -> None:
    account = Account(clock=clock)
    incident = account.trigger("Disk full")
    with (
        portal.wrap_async_context_manager(Simulator([account], limit=1).serving()) as url,
        Rest(account.api_key, "alice@example.com", base_url=url, trust_env=False, verify=False) as rest,
    ):
        rest.retry = {429: 1}
        path, note = f"/incidents/{incident.id}/notes", {"note": {"content": "On it."}}
        assert [rest.post(path, json=note).status_code for _ in range(2)] == [201, 429]
    assert len(account.effects) == 1


@pytest.mark.parametrize("fault", EITHER_WAY)
def test_a_fault_before_or_after_the_effect_lets_about_half_of_the_writes_through(fault: Fault) -> None:
    drawn = Faults(seed=3)
    assert 400 < sum(drawn.lets_through(fault) for _ in range(1000)) < 600


def test_code_1005_means_a_concurrent_update(
    account: Account, rest: Rest, incident: Incident, simulator: Simulator
) -> None:
    simulator.faults.once(Fault.DATA_CHANGED)
    asked = {"type": "incident_reference", "status": "resolved"}
    assert refusal(lambda: rest.rput(f"/incidents/{incident.id}", json=asked)) == (400, 1005)
    assert not account.effects
    assert rest.rput(f"/incidents/{incident.id}", json=asked)
    assert len(account.effects) == 1


def test_a_client_that_retries_a_note_after_a_broken_connection_adds_it_twice(
    account: Account, rest: Rest, incident: Incident, simulator: Simulator
) -> None:
    rest.max_network_attempts = 1
    simulator.faults.once(Fault.RESET_AFTER)
    assert rest.post(f"/incidents/{incident.id}/notes", json={"note": {"content": "On it."}}).is_success
    assert [each.content for each in incident.notes] == ["On it.", "On it."]


@pytest.mark.parametrize(
    ("fault", "reached"),
    [
        *[(each, [UPDATE, NOTE, EVENT]) for each in sorted(BEFORE_THE_EFFECT | AFTER_THE_EFFECT)],
        (Fault.DATA_CHANGED, [UPDATE]),
        (Fault.THROTTLED, [EVENT]),
        (Fault.RATE_LIMITED, [READ, UPDATE, NOTE]),
        (Fault.RATE_LIMITED_BARE, [READ, UPDATE, NOTE]),
        (Fault.RESET, [READ, UPDATE, NOTE, EVENT]),
    ],
)
def test_a_fault_waits_for_a_call_that_it_applies_to(fault: Fault, reached: list[SimRequest]) -> None:
    for request in (READ, UPDATE, NOTE, EVENT):
        once, rated = Faults(), Faults()
        once.once(fault, Fault.SLOW)
        rated.set({fault: 1})
        met = request in reached
        assert once.draw(request) is (fault if met else Fault.SLOW)
        assert once.draw(request) is (Fault.SLOW if met else None)
        assert rated.draw(request) is (fault if met else None)


def test_write_faults_can_be_set_over_http(account: Account, http: httpx.Client, incident: Incident) -> None:
    asked = {"once": ["server_error_after", "server_error_before"], "rates": {"data_changed": 1}, "hang_seconds": 1.5}
    known = http.post("/simulator/faults", json=asked).json()["faults"]
    assert {"reset_before", "hang_after", "cut_after", "throttled"} <= set(known)
    path, note = f"/incidents/{incident.id}/notes", {"note": {"content": "On it."}}
    assert [http.post(path, json=note).status_code // 100 for _ in range(3)] == [5, 5, 2]
    assert len(account.effects) == 2
    resolved = {"incident": {"type": "incident_reference", "status": "resolved"}}
    assert http.put(f"/incidents/{incident.id}", json=resolved).json()["error"]["code"] == 1005


def test_a_hang_lasts_as_long_as_configured(simulator: Simulator, http: httpx.Client, incident: Incident) -> None:
    http.post("/simulator/faults", json={"hang_seconds": 0.01, "once": ["hang_before", "hang_after"]})
    path, note = f"/incidents/{incident.id}/notes", {"note": {"content": "On it."}}
    assert [http.post(path, json=note).status_code for _ in range(2)] == [504, 201]
