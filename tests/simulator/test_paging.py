"""Pages, keys and limits, as PagerDuty's own client library and a bare one meet them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pagerduty
import pytest

from daemon.simulator import Account, Fault, Simulator
from tests.conftest import START
from tests.simulator.library import KEY, Sdk, ids, refusal

if TYPE_CHECKING:
    import httpx

    from tests.conftest import ManualClock


def test_a_page_has_25_records_by_default(account: Account, http: httpx.Client) -> None:
    for _ in range(50):
        account.trigger("Disk full")
    first = http.get("/incidents").json()
    assert (len(first["incidents"]), first["limit"], first["offset"], first["more"]) == (25, 25, 0, True)
    second = http.get("/incidents", params={"offset": 25}).json()
    assert (len(second["incidents"]), second["more"]) == (25, False)
    assert len(http.get("/incidents", params={"limit": 100}).json()["incidents"]) == 50


def test_the_total_is_counted_only_on_request(account: Account, http: httpx.Client, sdk: Sdk) -> None:
    for _ in range(3):
        account.trigger("Disk full")
    assert http.get("/incidents").json()["total"] is None
    assert sdk.get_total("/incidents") == 3


def test_every_page_of_a_list_is_returned(account: Account, simulator: Simulator, sdk: Sdk) -> None:
    created = [account.trigger(f"Disk {number} full").id for number in range(230)]
    assert sorted(ids(sdk.iter_all("incidents"))) == sorted(created)
    assert len(simulator.calls) == 3
    assert sorted(ids(sdk.iter_all("incidents", page_size=7))) == sorted(created)


@pytest.mark.parametrize("limit", ["101", "0", "-1", "ten"])
def test_a_page_has_1_to_100_records(http: httpx.Client, limit: str) -> None:
    assert http.get("/users", params={"limit": "100"}).status_code == 200
    assert refusal(http.get("/users", params={"limit": limit}))[:2] == (400, 2001)


def test_nothing_beyond_10000_is_listed(account: Account, http: httpx.Client, sdk: Sdk) -> None:
    incident = account.trigger("Disk full")
    for _ in range(10_050):
        account.noise(incident.id)
    assert http.get("/log_entries", params={"limit": 100, "offset": 9900}).json()["more"] is True
    assert refusal(http.get("/log_entries", params={"limit": 100, "offset": 9901}))[:2] == (400, 2001)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of the same limit
        assert len(sdk.list_all("log_entries")) == 10_000


def test_records_beyond_10000_are_found_in_smaller_windows(clock: ManualClock, account: Account, sdk: Sdk) -> None:
    incident = account.trigger("Disk full")
    for number in range(10_050):
        if number % 1000 == 0:
            clock.advance(60)
        account.noise(incident.id)
    found = ids(sdk.iter_history("/log_entries", START, clock.advance(1)))
    assert sorted(found) == sorted(entry.id for entry in account.log.entries)


@pytest.mark.parametrize("offset", ["-1", "many", "1.5", "9999999"])
def test_an_invalid_offset_is_refused(http: httpx.Client, offset: str) -> None:
    assert refusal(http.get("/users", params={"offset": offset}))[:2] == (400, 2001)


@pytest.mark.parametrize("sent", ["Token token=wrong", KEY, f"Bearer {KEY}", "Token token=", f"x Token token={KEY}"])
def test_a_wrong_key_is_refused_and_not_counted(simulator: Simulator, http: httpx.Client, sent: str) -> None:
    assert refusal(http.get("/users", headers={"Authorization": sent})) == (401, 2006, [])
    assert simulator.calls == []


def test_the_client_library_reports_a_wrong_key(url: str) -> None:
    with Sdk("wrong", base_url=url, trust_env=False, verify=False) as client:
        with pytest.raises(pagerduty.HttpError, match="401 Unauthorized"):
            client.rget("/users")


def test_every_response_has_a_date_a_request_id_and_the_remaining_budget(
    clock: ManualClock, http: httpx.Client
) -> None:
    first, second = http.get("/users"), http.get("/nowhere")
    assert first.headers["date"] == second.headers["date"] == "Mon, 23 Nov 2026 10:00:00 GMT"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert [each.headers["ratelimit-remaining"] for each in (first, second)] == ["959", "958"]
    assert {(each.headers["ratelimit-limit"], each.headers["ratelimit-reset"]) for each in (first, second)} == {
        ("960", "60")
    }


def test_too_many_calls_in_a_minute_are_refused_until_the_minute_is_over(
    clock: ManualClock, simulator: Simulator, http: httpx.Client
) -> None:
    statuses = [http.get("/abilities").status_code for _ in range(962)]
    assert statuses == [200] * 960 + [429] * 2
    clock.advance(59)
    refused = http.get("/abilities")
    assert refused.headers["ratelimit-remaining"] == "0"
    assert refusal(refused) == (429, 2020, [])
    clock.advance(61)
    assert http.get("/abilities").status_code == 200
    assert len(simulator.calls) == 964


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.RATE_LIMITED_BARE])
def test_the_client_library_retries_rate_limited_calls(simulator: Simulator, sdk: Sdk, fault: Fault) -> None:
    simulator.faults.once(fault, fault)
    assert len(sdk.list_all("users")) == 5
    assert [call.status for call in simulator.calls] == [429, 429, 200]
