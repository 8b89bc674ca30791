"""The client's requests, and its handling of errors and malformed responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import httpx
import pytest

import daemon
from daemon import errors
from daemon.model import CallPriority, Rejected
from daemon.pagerduty import client as pagerduty_client
from daemon.settings import HOSTS
from tests.conftest import START
from tests.pagerduty.scripted_pagerduty import KEY, MANY, FreePermits, listing, refusal

if TYPE_CHECKING:
    from tests.pagerduty.scripted_pagerduty import ScriptedPagerDuty

LATER = START + timedelta(minutes=5)
POLL = CallPriority.POLL
TEMPORARY = {408, 425, 429, *range(500, 600)}
ENTRY = {
    "id": "R1",
    "type": "trigger_log_entry",
    "created_at": "2026-11-23T10:00:00Z",
    "incident": {"id": "P1", "type": "incident_reference"},
}


# --- requests


async def test_every_request_carries_key_version_and_user_agent_and_goes_to_the_host_of_the_connection(
    fake: ScriptedPagerDuty,
) -> None:
    client = fake.client(listing("incidents"), url="https://api.eu.pagerduty.com")
    await client.open_incidents(POLL)
    (request,) = fake.requests
    assert (request.method, request.url.host, request.url.path) == ("GET", "api.eu.pagerduty.com", "/incidents")
    assert request.headers["accept"] == "application/vnd.pagerduty+json;version=2"
    assert request.headers["authorization"] == f"Token token={KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"pagerelay/{daemon.__version__}"


@pytest.mark.parametrize(("region", "host"), [("us", "api.pagerduty.com"), ("eu", "api.eu.pagerduty.com")])
def test_each_region_has_its_own_host(region: str, host: str) -> None:
    assert HOSTS[region][0] == f"https://{host}"


async def test_the_path_of_a_base_url_is_kept(fake: ScriptedPagerDuty) -> None:
    await fake.client(listing("incidents"), url="https://gate.internal/pagerduty").open_incidents(POLL)
    assert fake.requests[0].url.path == "/pagerduty/incidents"


async def test_the_full_log_is_requested_in_utc_with_incidents_and_channels(fake: ScriptedPagerDuty) -> None:
    since = datetime(2026, 11, 23, 5, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=-5)))
    window = await fake.client(listing("log_entries", ENTRY)).log_entries(since, LATER, POLL)
    assert fake.requests[0].url.path == "/log_entries"
    assert fake.requests[0].url.params.multi_items() == [
        ("since", "2026-11-23T10:00:00Z"),
        ("until", "2026-11-23T10:05:00Z"),
        ("time_zone", "UTC"),
        ("is_overview", "false"),
        ("include[]", "incidents"),
        ("include[]", "channels"),
        ("limit", "100"),
        ("offset", "0"),
    ]
    assert [entry.id for entry in window.entries] == ["R1"]


async def test_open_incidents_of_any_age_are_requested_in_a_stable_order(fake: ScriptedPagerDuty) -> None:
    result = await fake.client(listing("incidents", {"id": "P1"})).open_incidents(POLL)
    assert fake.requests[0].url.params.multi_items() == [
        ("statuses[]", "triggered"),
        ("statuses[]", "acknowledged"),
        ("date_range", "all"),
        ("sort_by", "incident_number:asc"),
        ("include[]", "conference_bridge"),
        ("limit", "100"),
        ("offset", "0"),
    ]
    assert result.incidents == {"P1": {"id": "P1", "conference_bridge": None}}


@pytest.mark.parametrize(
    ("incident", "path"),
    [
        ("Q1", b"/incidents/Q1"),
        ("../users", b"/incidents/%2E%2E%2Fusers"),
        ("..", b"/incidents/%2E%2E"),
        (".", b"/incidents/%2E"),
        ("a?b=c#d e", b"/incidents/a%3Fb%3Dc%23d%20e"),
        ("ö%2F", b"/incidents/%C3%B6%252F"),
    ],
)
async def test_an_id_is_one_path_segment_whatever_it_contains(
    fake: ScriptedPagerDuty, incident: str, path: bytes
) -> None:
    await fake.client(httpx.Response(200, json={"incident": {"id": incident}})).incident(incident, POLL)
    assert fake.requests[0].url.raw_path == path


async def test_an_incident_lookup_returns_the_incident_or_none_or_a_rejected_record(fake: ScriptedPagerDuty) -> None:
    result = httpx.Response(200, json={"incident": {"id": "P1", "status": "resolved", "email": "a@example.com"}})
    odd = httpx.Response(200, json={"incident": "P1"})
    client = fake.client(result, refusal(404, 2100), odd, refusal(403, 2010))
    assert await client.incident("P1", POLL) == {"id": "P1", "status": "resolved"}
    assert await client.incident("P1", POLL) is None
    assert isinstance(await client.incident("P1", POLL), Rejected)
    with pytest.raises(errors.Permanent):
        await client.incident("P1", POLL)


async def test_a_user_is_found_by_the_exact_address_in_any_case(fake: ScriptedPagerDuty) -> None:
    def user(identity: object, email: object) -> dict[str, object]:
        return {"id": identity, "email": email}

    answer = listing(
        "users", user("P1", "alice@example.com.org"), user("P2", None), "odd", user("P3", "Alice@Example.com")
    )
    client = fake.client(answer)
    assert await client.find_user("aLICE@example.COM", POLL) == "P3"
    assert await client.find_user("lice@example.com", POLL) is None
    assert fake.requests[0].url.params["query"] == "aLICE@example.COM"


async def test_a_user_is_searched_for_on_every_page(fake: ScriptedPagerDuty) -> None:
    users = [{"id": f"P{number}", "email": f"user{number}@example.com"} for number in range(150)]
    client = fake.client(listing("users", *users[:100], more=True), listing("users", *users[99:]))
    assert await client.find_user("user140@example.com", POLL) == "P140"
    assert [request.url.params["offset"] for request in fake.requests] == ["0", "99"]


# --- responses


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"date": "Mon, 23 Nov 2026 10:00:07 GMT"}, datetime(2026, 11, 23, 10, 0, 7, tzinfo=UTC)),
        ({"date": "Mon, 23 Nov 2026 05:00:07 -0500"}, datetime(2026, 11, 23, 10, 0, 7, tzinfo=UTC)),
        ({"date": "Mon, 23 Nov 2026 10:00:07 -0000"}, datetime(2026, 11, 23, 10, 0, 7, tzinfo=UTC)),
        ({"date": "yesterday"}, None),
        ({"date": "Mon, 23 Nov 2026 25:00:00 GMT"}, None),
        ({}, None),
    ],
)
async def test_a_window_has_the_server_time_if_the_response_had_a_date(
    fake: ScriptedPagerDuty, headers: dict[str, str], expected: datetime | None
) -> None:
    answer = httpx.Response(200, json={"log_entries": []}, headers=headers)
    server_time = (await fake.client(answer).log_entries(START, LATER, POLL)).server_time
    assert server_time == expected
    assert server_time is None or server_time.tzinfo is UTC


async def test_malformed_records_are_rejected(fake: ScriptedPagerDuty) -> None:
    answer = listing("log_entries", ENTRY, 7, ENTRY | {"id": None}, ENTRY | {"id": "R2"})
    window = await fake.client(answer).log_entries(START, LATER, POLL)
    assert [entry.id for entry in window.entries] == ["R1", "R2"]
    assert [each.reason for each in window.rejected] == ["the record is not an object", "the record has no id"]
    result = await fake.client(listing("incidents", {"id": "P1"}, {"id": 7})).open_incidents(POLL)
    assert (list(result.incidents), len(result.rejected)) == (["P1"], 1)


async def test_an_error_status_is_either_temporary_and_retried_or_permanent(fake: ScriptedPagerDuty) -> None:
    unexpected = []
    permits = FreePermits(fake.database, "acme", MANY, "one")
    for status in range(300, 600):
        fake.requests.clear()
        expected = errors.Temporary if status in TEMPORARY else errors.Permanent
        client = fake.client(refusal(status, headers={"x-request-id": "abc"}), permits=permits)
        with pytest.raises(expected) as raised:
            await client.open_incidents(POLL)
        attempts = pagerduty_client.ATTEMPTS if status in TEMPORARY else 1
        if (raised.value.status, raised.value.request_id, len(fake.requests)) != (status, "abc", attempts):
            unexpected.append(status)
    assert unexpected == []


async def test_an_error_contains_host_path_status_code_message_remedy_and_request_id(fake: ScriptedPagerDuty) -> None:
    client = fake.client(refusal(401, 2006, headers={"x-request-id": "abc"}))
    with pytest.raises(errors.Permanent) as raised:
        await client.open_incidents(POLL)
    assert str(raised.value) == (
        "pagerduty.invalid answered /incidents with 401 (2006): It said so; This is wrong "
        "(check api_key and region: it must be a REST API key, not an integration key or an OAuth token (for an app, "
        "set oauth instead), and a key of the other region is rejected in the same way) [request abc]"
    )
    assert (raised.value.status, raised.value.code, raised.value.request_id) == (401, 2006, "abc")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "with 400"),
        (b"<html>Bad</html>", "with 400"),
        (b"[]", "with 400"),
        (b'{"error": "no more"}', "with 400: no more"),
        (b'{"error": null}', "with 400"),
        (b'{"error": {"message": 7, "code": "2001", "errors": "x"}}', "with 400"),
        (b'{"error": {"code": 2001, "errors": [1, "a", null, "b"]}}', "with 400 (2001): a; b"),
        (b'{"error": {"message": "a", "code": 0, "errors": []}}', "with 400: a"),
        (b'{"message": "Not here"}', "with 400: Not here"),
    ],
)
async def test_an_error_response_with_an_unexpected_body_is_still_an_error(
    fake: ScriptedPagerDuty, body: bytes, message: str
) -> None:
    with pytest.raises(errors.Permanent) as raised:
        await fake.client(httpx.Response(400, content=body)).open_incidents(POLL)
    assert str(raised.value) == f"pagerduty.invalid answered /incidents {message}"


async def test_an_error_is_short_however_long_the_response_is(fake: ScriptedPagerDuty) -> None:
    answer = httpx.Response(400, json={"error": {"message": "x" * 100_000}}, headers={"x-request-id": "y" * 5000})
    with pytest.raises(errors.Permanent) as raised:
        await fake.client(answer).open_incidents(POLL)
    assert len(str(raised.value)) < 1000
    assert "xxx" in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"log_entries"', b"null", b"\xff\xfe", b'{"log_entries": ['])
async def test_a_success_status_without_an_object_is_a_temporary_error(fake: ScriptedPagerDuty, body: bytes) -> None:
    client = fake.client(httpx.Response(200, content=body))
    with pytest.raises(errors.Temporary, match="something other than a JSON object"):
        await client.log_entries(START, LATER, POLL)
    assert len(fake.requests) == pagerduty_client.ATTEMPTS


@pytest.mark.parametrize("body", [{}, {"log_entries": None}, {"log_entries": {}}, {"incidents": []}])
async def test_a_list_without_its_records_is_a_temporary_error(
    fake: ScriptedPagerDuty, body: dict[str, object]
) -> None:
    with pytest.raises(errors.Temporary, match="answered /log_entries without log_entries"):
        await fake.client(httpx.Response(200, json=body)).log_entries(START, LATER, POLL)


# --- windows that are too large


@pytest.mark.parametrize("status", [400, 422, 500, 504])
async def test_code_2016_means_that_the_window_is_too_large(fake: ScriptedPagerDuty, status: int) -> None:
    with pytest.raises(errors.WindowTooLarge) as raised:
        await fake.client(refusal(status, 2016, headers={"x-request-id": "abc"})).log_entries(START, LATER, POLL)
    assert (raised.value.status, raised.value.code, raised.value.request_id) == (status, 2016, "abc")
    assert len(fake.requests) == 1


async def test_a_later_page_refused_means_that_the_window_is_too_large(fake: ScriptedPagerDuty) -> None:
    entries = [ENTRY | {"id": f"R{number}"} for number in range(100)]
    client = fake.client(listing("log_entries", *entries, more=True), refusal(400, 2001, headers={"x-request-id": "a"}))
    with pytest.raises(errors.WindowTooLarge) as raised:
        await client.log_entries(START, LATER, POLL)
    assert (raised.value.status, raised.value.code, raised.value.request_id) == (400, 2001, "a")


async def test_a_first_page_refused_is_a_permanent_error_and_not_about_size(fake: ScriptedPagerDuty) -> None:
    with pytest.raises(errors.Permanent) as raised:
        await fake.client(refusal(400, 2001)).log_entries(START, LATER, POLL)
    assert not isinstance(raised.value, errors.WindowTooLarge)


async def test_a_page_that_the_key_may_not_read_is_not_about_size(fake: ScriptedPagerDuty) -> None:
    entries = [ENTRY | {"id": f"R{number}"} for number in range(100)]
    client = fake.client(listing("log_entries", *entries, more=True), refusal(403, 2010))
    with pytest.raises(errors.Permanent) as raised:
        await client.log_entries(START, LATER, POLL)
    assert not isinstance(raised.value, errors.WindowTooLarge)
