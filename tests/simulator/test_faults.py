"""Faults between PagerDuty and a client, on demand, as a client experiences them."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest

from daemon.simulator import Fault, faults
from daemon.simulator.faults import AFTER_THE_ANSWER, FOR_WRITES, Faults
from daemon.simulator.http import SimRequest
from tests.simulator.library import Sdk, ids, log, types

if TYPE_CHECKING:
    from daemon.simulator import Account, Simulator
    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock

USERS = SimRequest("GET", "/users")
WINDOW = SimRequest("GET", "/log_entries", (("since", "2026-11-23T10:00:00Z"),))
UPDATE, EVENT = SimRequest("PUT", "/incidents"), SimRequest("POST", "/v2/enqueue")
ANSWERS = sorted(set(Fault) - AFTER_THE_ANSWER)
MEETING = dict.fromkeys({*FOR_WRITES, Fault.DATA_CHANGED}, UPDATE) | {Fault.THROTTLED: EVENT}


def test_a_rate_limit_response_has_headers_and_code(simulator: Simulator, http: httpx.Client) -> None:
    simulator.faults.once(Fault.RATE_LIMITED)
    answer = http.get("/users")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, 2020)
    left = {name: answer.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")}
    assert left == {"limit": "960", "remaining": "0", "reset": "1"}


def test_a_rate_limit_response_may_lack_headers_and_body(simulator: Simulator, http: httpx.Client) -> None:
    simulator.faults.once(Fault.RATE_LIMITED_BARE)
    answer = http.get("/users")
    assert (answer.status_code, answer.content) == (429, b"")
    assert [name for name in answer.headers if name.startswith("ratelimit")] == []


def test_server_errors_are_html_pages(simulator: Simulator, http: httpx.Client) -> None:
    seen = set()
    for _ in range(40):
        simulator.faults.once(Fault.SERVER_ERROR)
        answer = http.get("/users")
        assert answer.headers["content-type"] == "text/html"
        seen.add(answer.status_code)
    assert seen == {500, 502, 503, 504}


def test_a_slow_response_is_complete_and_late(simulator: Simulator, http: httpx.Client) -> None:
    whole = http.get("/users").content
    simulator.faults.once(Fault.SLOW)
    started = time.monotonic()
    assert http.get("/users").content == whole
    assert time.monotonic() - started >= faults.SLOW_SECONDS


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.CUT])
def test_a_connection_breaks_before_or_within_the_response(
    simulator: Simulator, http: httpx.Client, fault: Fault
) -> None:
    expected = {Fault.RESET: httpx.ReadError, Fault.CUT: httpx.RemoteProtocolError}[fault]
    simulator.faults.once(fault)
    with pytest.raises(expected):
        http.get("/users")
    assert http.get("/users").status_code == 200
    assert [call.fault for call in simulator.calls] == [fault, None]


def test_a_truncated_response_has_its_first_half(simulator: Simulator, http: httpx.Client) -> None:
    whole = http.get("/users").content
    simulator.faults.once(Fault.CUT)
    with http.stream("GET", "/users") as answer:
        parts = answer.iter_raw()
        assert next(parts) == whole[: len(whole) // 2]
        with pytest.raises(httpx.RemoteProtocolError):
            next(parts)


def test_a_success_status_may_come_with_an_html_page(simulator: Simulator, http: httpx.Client) -> None:
    simulator.faults.once(Fault.NOT_JSON)
    answer = http.get("/users")
    assert (answer.status_code, answer.headers["content-type"], answer.content[:6]) == (200, "text/html", b"<html>")


def test_a_window_may_be_too_large(simulator: Simulator, http: httpx.Client) -> None:
    simulator.faults.set({Fault.TOO_LONG: 1})
    answer = http.get("/log_entries", params={"since": "2026-11-23T10:00:00Z"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 2016)
    assert http.get("/log_entries").status_code == 200
    assert http.get("/users").status_code == 200


def test_a_list_can_change_while_it_is_read(
    account: Account, incident: Incident, simulator: Simulator, sdk: Sdk
) -> None:
    for _ in range(10):
        account.noise(incident.id)
    simulator.faults.set({Fault.SHIFT: 1})
    before = len(account.incidents)
    read = ids(sdk.iter_all("log_entries", page_size=6))
    assert len(account.incidents) > before
    assert len(set(read)) < len(read)
    simulator.faults.clear()
    count = len(account.incidents)
    list(sdk.iter_all("log_entries", page_size=6))
    assert len(account.incidents) == count


def test_a_late_entry_appears_after_others_with_its_original_time(
    account: Account, incident: Incident, simulator: Simulator, clock: ManualClock, sdk: Sdk
) -> None:
    simulator.faults.late_seconds = (30, 30)
    simulator.faults.set({Fault.LATE: 1})
    account.acknowledge(incident.id, account.directory.users[0])
    simulator.faults.clear()
    clock.advance(29)
    account.resolve(incident.id)
    assert types(log(sdk)) == ["trigger", "assign", "resolve"]
    clock.advance(1)
    assert types(log(sdk)) == ["trigger", "assign", "acknowledge", "resolve"]
    assert [each["created_at"][11:19] for each in log(sdk)][2:] == ["10:01:00", "10:01:29"]


def test_an_assignment_may_be_listed_before_its_trigger(
    incident: Incident, account: Account, simulator: Simulator, sdk: Sdk
) -> None:
    clock_order = types(log(sdk))
    account.resolve(incident.id)
    simulator.faults.set({Fault.SWAPPED: 1})
    assert clock_order == ["trigger", "assign"]
    assert types(log(sdk)) == ["assign", "trigger", "resolve"]
    assert len(sdk.list_all("users")) == 5


def test_only_a_trigger_and_an_assignment_of_one_incident_and_second_are_swapped(
    account: Account, incident: Incident, simulator: Simulator, clock: ManualClock, sdk: Sdk
) -> None:
    alice, bob, *_ = account.directory.users
    other = account.trigger("Login is slow", service=account.directory.services[0])
    account.retrigger(other.id)
    account.reassign(incident.id, alice, [bob])
    account.annotate(incident.id, bob, "Looking into it.")
    clock.advance(1)
    account.retrigger(other.id)
    clock.advance(1)
    account.reassign(other.id, alice, [bob])
    simulator.faults.set({Fault.SWAPPED: 1})
    listed = [(each["incident"]["incident_number"], *types([each])) for each in log(sdk)]
    assert listed[:2] == [(1, "assign"), (1, "trigger")]
    assert listed[2:4] == [(2, "assign"), (2, "trigger")]
    assert listed[4:7] == [(2, "trigger"), (1, "assign"), (1, "annotate")]
    assert listed[7:] == [(2, "trigger"), (2, "assign")]


# --- which faults, and when


def test_queued_faults_happen_once_each_in_order(simulator: Simulator, http: httpx.Client) -> None:
    simulator.faults.once(Fault.RATE_LIMITED_BARE, Fault.NOT_JSON, Fault.RATE_LIMITED)
    statuses = [http.get("/users").status_code for _ in range(4)]
    assert statuses == [429, 200, 429, 200]
    assert [call.fault for call in simulator.calls] == ["rate_limited_bare", "not_json", "rate_limited", None]


@pytest.mark.parametrize("fault", sorted(AFTER_THE_ANSWER))
def test_a_fault_without_a_response_cannot_be_queued(fault: Fault) -> None:
    drawn = Faults()
    with pytest.raises(ValueError, match=f"{fault} can only have a rate"):
        drawn.once(Fault.RESET, fault)
    assert drawn.draw(USERS) is None


@pytest.mark.parametrize("fault", ANSWERS)
def test_a_fault_occurs_at_its_rate(fault: Fault) -> None:
    drawn = Faults(seed=1)
    for rate, (least, most) in {0: (0, 0), 0.25: (200, 300), 1: (1000, 1000)}.items():
        drawn.set({fault: rate})
        met = Counter(drawn.draw(MEETING.get(fault, WINDOW)) for _ in range(1000))
        assert least <= met[fault] <= most
        assert set(met) <= {fault, None}


@pytest.mark.parametrize("fault", sorted(AFTER_THE_ANSWER))
def test_a_fault_without_a_response_is_never_drawn_and_occurs_at_its_rate(fault: Fault) -> None:
    drawn = Faults(seed=1)
    assert not drawn.happens(fault)
    drawn.set({fault: 0.25})
    assert {drawn.draw(WINDOW) for _ in range(100)} == {None}
    assert 200 <= sum(drawn.happens(fault) for _ in range(1000)) <= 300


def test_the_same_seed_causes_the_same_faults_and_another_seed_different_ones() -> None:
    def drawn(seed: int) -> list[Fault | None]:
        chosen = Faults()
        chosen.set(dict.fromkeys(ANSWERS, 0.2), seed=seed)
        return [chosen.draw(WINDOW) for _ in range(200)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_new_rates_replace_old_ones_and_an_unknown_fault_is_refused() -> None:
    drawn = Faults()
    drawn.set({"slow": 1})
    drawn.set({"reset": 1})
    assert drawn.draw(USERS) is Fault.RESET
    with pytest.raises(ValueError, match="earthquake"):
        drawn.set({"earthquake": 1})
    drawn.clear()
    assert drawn.draw(USERS) is None
