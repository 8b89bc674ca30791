"""The log of an account, read by PagerDuty's own client library."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon import triggers
from tests.simulator.library import WHOLE, Sdk, ids, latest, log, refusal, types

if TYPE_CHECKING:
    import httpx

    from daemon.simulator import Account
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock


def test_since_is_inclusive_and_until_is_exclusive(clock: ManualClock, account: Account, sdk: Sdk) -> None:
    incident = account.trigger("Disk full")
    before = len(account.log.entries)
    clock.advance(60)
    account.acknowledge(incident.id, account.directory.users[0])
    inside = [entry.id for entry in account.log.entries[before:]]
    clock.advance(60)
    account.resolve(incident.id)
    window = {"since": "2026-11-23T10:01:00Z", "until": "2026-11-23T10:02:00Z"}
    assert ids(sdk.iter_all("log_entries", params=window)) == inside[::-1]


def test_times_without_an_offset_are_in_the_time_zone_of_the_account(
    clock: ManualClock, account: Account, sdk: Sdk
) -> None:
    account.trigger("Disk full")
    clock.advance(3600)
    local = {"since": "2026-11-23T05:00:00", "until": "2026-11-23T05:00:01"}
    assert ids(sdk.iter_all("log_entries", params=local))
    as_utc = local | {"time_zone": "UTC"}
    assert ids(sdk.iter_all("log_entries", params=as_utc)) == []
    in_berlin = {"since": "2026-11-23T11:00:00", "until": "2026-11-23T11:00:01", "time_zone": "Europe/Berlin"}
    assert ids(sdk.iter_all("log_entries", params=in_berlin))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "America", "../../etc/passwd", ""])
def test_an_invalid_time_zone_is_refused(account: Account, http: httpx.Client, zone: str) -> None:
    account.trigger("Disk full")
    assert refusal(http.get("/log_entries", params={"time_zone": zone}))[:2] == (400, 2001)


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", ""])
@pytest.mark.parametrize("path", ["/log_entries", "/incidents"])
@pytest.mark.parametrize("name", ["since", "until"])
def test_an_invalid_time_is_refused(http: httpx.Client, path: str, name: str, moment: str) -> None:
    assert refusal(http.get(path, params={name: moment})) == (400, 2001, [f"{name} is invalid"])


def test_an_overview_has_no_notes_and_no_assignments(account: Account, sdk: Sdk) -> None:
    incident = account.trigger("Disk full")
    account.annotate(incident.id, account.directory.users[0], "Looking into it.")
    account.resolve(incident.id)

    def types(**params: object) -> set[str]:
        return {each["type"] for each in sdk.iter_all("log_entries", params=params)}

    everything = {"trigger_log_entry", "assign_log_entry", "annotate_log_entry", "resolve_log_entry"}
    assert types() == everything
    assert types(is_overview="false") == everything
    assert types(is_overview="true") == {"trigger_log_entry", "resolve_log_entry"}


def test_included_objects_are_complete_and_others_are_references(account: Account, sdk: Sdk) -> None:
    incident = account.trigger("Disk full")

    def entry(*include: str) -> Any:
        return sdk.rget(f"/log_entries/{incident.first_entry}", params={"include": list(include)})

    bare = entry()
    assert [bare[key]["type"] for key in ("incident", "service")] == ["incident_reference", "service_reference"]
    assert bare["teams"][0]["type"] == "team_reference"
    assert bare["channel"] == {"type": "api"}
    whole = entry("incidents", "services", "teams", "channels")
    assert whole["incident"]["status"] == "triggered"
    assert whole["service"]["name"] == incident.service.name
    assert whole["teams"][0]["name"] == account.directory.team.name
    assert whole["channel"]["summary"] == "Disk full"


def test_each_incident_has_its_own_log(account: Account, sdk: Sdk, http: httpx.Client) -> None:
    assert refusal(http.get("/incidents/PNONE/log_entries"))[:2] == (404, 2100)
    first, second = account.trigger("Disk full"), account.trigger("Login is slow")
    account.resolve(first.id)
    expected = [each.id for each in account.log.entries if each.incident is second]
    assert ids(sdk.iter_all(f"incidents/{second.id}/log_entries")) == expected[::-1]


def test_the_log_is_listed_newest_first(account: Account, incident: Incident, clock: ManualClock, sdk: Sdk) -> None:
    for _ in range(3):
        clock.advance(1)
        account.noise(incident.id)
    times = [each["created_at"][:19] for each in sdk.iter_all("log_entries", params=WHOLE)]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 4


def test_entries_within_one_second_happened_in_reverse_list_order(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    account.acknowledge(incident.id, alice)
    clock.advance(0.4)
    account.annotate(incident.id, alice, "Looking into it.")
    clock.advance(0.5)
    account.resolve(incident.id, alice)
    entries = log(sdk, since="2026-11-23T10:01:00Z")
    assert types(entries) == ["acknowledge", "annotate", "resolve"]
    assert {each["created_at"][:19] for each in entries} == {"2026-11-23T10:01:00"}
    assert log(sdk, since="2026-11-23T10:01:00.1Z") == []


def test_times_are_rendered_in_the_time_zone_of_the_account_by_default(
    account: Account, incident: Incident, sdk: Sdk
) -> None:
    def rendered(**params: str) -> set[str]:
        return {each["created_at"] for each in sdk.iter_all("log_entries", params=params)}

    assert rendered() == {"2026-11-23T05:00:00-05:00"}
    assert rendered(time_zone="Asia/Kolkata") == {"2026-11-23T15:30:00+05:30"}


def test_utc_has_three_spellings(account: Account, incident: Incident, sdk: Sdk) -> None:
    for _ in range(3):
        account.noise(incident.id)
    spelt = {re.sub("[0-9]", "0", each["created_at"]) for each in log(sdk)}
    assert spelt == {"0000-00-00T00:00:00Z", "0000-00-00T00:00:00+00:00", "0000-00-00T00:00:00.000000Z"}


def test_ids_have_three_lengths(account: Account, incident: Incident, sdk: Sdk) -> None:
    first: Any = log(sdk)[0]
    assert re.fullmatch("R[A-Z0-9]{25}", first["id"])
    assert re.fullmatch("Q[A-Z0-9]{13}", first["incident"]["id"])
    assert re.fullmatch("P[A-Z0-9]{6}", first["service"]["id"])


def test_the_log_contains_undocumented_types(
    account: Account, incident: Incident, clock: ManualClock, sdk: Sdk
) -> None:
    for _ in range(60):
        account.noise(incident.id)
    written = types(latest(sdk, clock))
    assert "responder_request_for_escalation_policy" in written
    assert [each for each in written if not triggers.is_known(f"{each}_log_entry")] == []


def test_the_log_cannot_be_filtered_by_type_user_or_service(account: Account, incident: Incident, sdk: Sdk) -> None:
    everything = log(sdk)
    for name in ("type", "types[]", "user_ids[]", "service_ids[]", "sort_by"):
        assert log(sdk, **{name: "PNONE"}) == everything


def test_a_malformed_record_is_returned_unchanged(
    account: Account, incident: Incident, clock: ManualClock, sdk: Sdk
) -> None:
    account.odd_record(incident.id, id=None, incident="P1", extra=[{}])
    (odd,) = latest(sdk, clock)
    assert (odd["id"], odd["incident"], odd["extra"]) == (None, "P1", [{}])
    assert account.log.ledger[-1].type == "incident.assigned"


def test_changes_while_hiding_happen_but_never_appear_in_the_log(
    account: Account, incident: Incident, alice: User, clock: ManualClock, sdk: Sdk
) -> None:
    with account.log.hiding():
        account.acknowledge(incident.id, alice)
    clock.advance(timedelta(days=7).total_seconds())
    assert "acknowledge" not in types(log(sdk))
    found: Any = sdk.rget(f"/incidents/{incident.id}")
    assert found["status"] == "acknowledged"
    assert account.log.ledger[-1].type == "incident.acknowledged"
    account.resolve(incident.id, alice)
    assert types(log(sdk))[-1] == "resolve"


def test_an_included_incident_has_its_current_state(account: Account, incident: Incident, sdk: Sdk) -> None:
    account.resolve(incident.id)
    assert {each["incident"]["status"] for each in log(sdk)} == {"resolved"}


def test_a_list_that_changes_while_it_is_read_repeats_and_skips_records(
    account: Account, incident: Incident, clock: ManualClock, sdk: Sdk
) -> None:
    for _ in range(4):
        account.noise(incident.id)
    reading = sdk.iter_all("log_entries", page_size=3)
    read = [next(reading)["id"] for _ in range(3)]
    account.noise(incident.id)
    read += [each["id"] for each in reading]
    assert (len(read), len(set(read))) == (7, 6)

    others = [account.trigger(f"Disk {number} full").id for number in range(5)]
    reading = sdk.iter_all("incidents", params={"statuses": ["triggered"]}, page_size=3)
    read = [next(reading)["id"] for _ in range(3)]
    account.resolve(incident.id)
    read += [each["id"] for each in reading]
    assert len(read) == 5
    assert not set(others) <= set(read)
