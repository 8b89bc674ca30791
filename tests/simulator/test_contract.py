"""Every response of the simulator matches PagerDuty's API descriptions, if those are stored beside the checkout.

Otherwise all tests here are skipped. Tests of reading and writing validate their responses as well.
"""

from __future__ import annotations

import copy
import itertools
import json
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon.simulator import Account, Fault, Simulator, history, routes
from daemon.simulator.http import SimRequest
from tests.conftest import START
from tests.harness import recordings
from tests.simulator import documented
from tests.simulator.divergences import DIVERGENCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ManualClock

__test__ = bool(documented.operations())

KEY = {"authorization": "Token token=simulator"}
INCLUDES = {
    "/log_entries": ("incidents", "channels", "services", "teams"),
    "/users": ("contact_methods", "notification_rules", "teams"),
}
RECORDED = [name for name, each in DIVERGENCES.items() if each.recorded]


@pytest.fixture(scope="module")
def lived() -> Account:
    """Return an account with all kinds of events of three hours."""
    account = Account(clock=lambda: START)
    history(account, START - timedelta(hours=3), START, rate=2)
    account.user_key = account.directory.users[0]
    return account


async def mistakes(
    simulator: Simulator, method: str, path: str, *query: tuple[str, str], body: bytes = b""
) -> list[str]:
    """Send a request; return how its response violates the description."""
    operation = documented.find(method, path)
    assert operation is not None, f"{method} {path} is not described"
    answer = await simulator.answer(SimRequest(method, path, query, KEY | {"from": "alice@example.com"}, body))
    return documented.answer_mistakes(operation, answer.status, answer.body)


def kinds(account: Account) -> list[str]:
    """Return one log entry of every kind that the account has: type, channel and further fields."""
    by_kind = {(each.type, each.channel["type"], *each.more): each for each in account.log.entries}
    return [each.id for each in by_kind.values()]


def paths(account: Account, pattern: str) -> list[str]:
    """Return the paths of a route, with some of the ids that the account has for it."""
    of: dict[str, list[str]] = {
        "/log_entries/": kinds(account),
        "/incidents/": list(account.incidents)[::20],
        "/users/": [each.id for each in account.directory.users],
        "/services/": [each.id for each in account.directory.services],
        "/escalation_policies/": [each.id for each in account.directory.policies],
        "/teams/": [account.directory.team.id],
        "/abilities/": list(routes.ABILITIES),
    }
    before, mark, after = pattern.partition("(?P<id>[^/]+)")
    return [f"{before}{each}{after}" for each in of[before]] if mark else [pattern]


READING = [pattern.pattern for method, pattern, _ in routes.ROUTES if method == "GET"]


@pytest.mark.parametrize("pattern", READING)
async def test_every_response_matches_the_api_description(lived: Account, pattern: str) -> None:
    simulator = Simulator([lived])
    include = [("include[]", each) for start, parts in INCLUDES.items() if pattern.startswith(start) for each in parts]
    found: set[str] = set()
    for path in paths(lived, pattern):
        found |= set(await mistakes(simulator, "GET", path))
        if include:
            found |= set(await mistakes(simulator, "GET", path, *include))
    assert found == set()


async def test_every_incident_matches_the_api_description(lived: Account) -> None:
    simulator = Simulator([lived])
    for offset in range(0, len(lived.incidents), 100):
        assert await mistakes(simulator, "GET", "/incidents", ("limit", "100"), ("offset", str(offset))) == []
    assert {each.merged_into is None for each in lived.incidents.values()} == {True, False}


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/log_entries", ("since", "yesterday"), 400),
        ("/log_entries", ("time_zone", "Mars"), 400),
        ("/incidents", ("limit", "101"), 400),
        ("/incidents", ("statuses[]", "open"), 400),
        ("/incidents/PNONE", ("x", "y"), 404),
        ("/incidents/PNONE/notes", ("x", "y"), 404),
        ("/users/PNONE", ("x", "y"), 404),
        ("/services/PNONE", ("x", "y"), 404),
        ("/users/me", ("x", "y"), 400),
    ],
)
async def test_every_refusal_matches_the_api_description(path: str, query: tuple[str, str], status: int) -> None:
    simulator = Simulator([Account(clock=lambda: START)])
    assert await mistakes(simulator, "GET", path, query) == []
    assert simulator.calls[-1].status == status


async def test_responses_to_a_wrong_key_and_too_many_calls_match_the_api_description() -> None:
    simulator = Simulator([Account(clock=lambda: START)], limit=1)
    operation = documented.find("GET", "/users")
    stranger = await simulator.answer(SimRequest("GET", "/users", (), {"authorization": "Token token=x"}))
    assert documented.answer_mistakes(operation, stranger.status, stranger.body) == []
    assert await mistakes(simulator, "GET", "/users") == []
    assert await mistakes(simulator, "GET", "/users") == []
    simulator.faults.once(Fault.RATE_LIMITED_BARE)
    assert await mistakes(simulator, "GET", "/users") == []
    assert [call.status for call in simulator.calls] == [200, 429, 429]


# --- the descriptions themselves


def records() -> list[tuple[str, bytes]]:
    """Return PagerDuty's recorded and documented responses, each with its path."""
    found = [("/log_entries", {"log_entries": each}) for each in recordings.log_entries().values()]
    found += [("/incidents", {"incidents": list(each.values())}) for each in recordings.incidents().values()]
    return [(path, json.dumps(body).encode()) for path, body in found]


def forget() -> None:
    """Read the descriptions anew, with the divergences that are allowed now."""
    for cached in (
        documented.load,
        documented.operations,
        documented._registry,
        documented._content,
        documented._validator,
        documented._remembering,
    ):
        cached.cache_clear()


@contextmanager
def without(*names: str) -> Iterator[Iterator[int]]:
    """Count the mistakes that each of PagerDuty's own records has without these divergences."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.delitem(DIVERGENCES, name)
        forget()
        yield (len(documented.answer_mistakes(documented.find("GET", path), 200, body)) for path, body in records())
    forget()


@pytest.fixture(scope="module")
def mistyped() -> int:
    """Return the number of mistakes if only the documented types are allowed."""
    with without("other types") as counts:
        return sum(counts)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_responses_need_every_allowed_divergence_from_the_api_description(name: str, mistyped: int) -> None:
    with without("other types", name) as counts:  # "other types" would allow a misspelt type as well
        assert any(total > mistyped for total in itertools.accumulate(counts))


SPOILT: list[tuple[str, Any]] = [
    ("id", 7),
    ("escalation_policy", {"id": "P1", "type": "user_reference"}),
    ("status", "open"),
    ("created_at", 1795428000),
    ("incident_number", "one"),
    ("assignments", [{"at": "now", "assignee": {"id": 7}}]),
    ("urgency", None),
    ("last_status_change_by", {"id": "P1", "type": "robot_reference"}),
    ("service", {"id": "P1"}),
]


@pytest.mark.parametrize(("field", "value"), SPOILT)
async def test_a_malformed_response_field_is_noticed(clock: ManualClock, field: str, value: Any) -> None:
    account = Account(clock=clock)
    incident = account.trigger("Disk full")
    answer = await Simulator([account]).answer(SimRequest("GET", f"/incidents/{incident.id}", (), KEY))
    operation = documented.find("GET", f"/incidents/{incident.id}")
    body = json.loads(answer.body)
    assert documented.answer_mistakes(operation, 200, answer.body) == []
    malformed = copy.deepcopy(body)
    malformed["incident"][field] = value
    assert documented.answer_mistakes(operation, 200, json.dumps(malformed).encode()) != []


async def test_a_missing_or_undescribed_response_is_noticed() -> None:
    operation = documented.find("GET", "/users")
    assert documented.answer_mistakes(operation, 200, b"<html>") != []
    assert documented.answer_mistakes(operation, 200, b"{}") != []
    assert documented.answer_mistakes(operation, 418, b"{}") != []
    assert documented.answer_mistakes(operation, 400, b'{"error": "text"}') != []


def test_a_request_that_violates_the_api_description_is_noticed() -> None:
    headers = {"accept": "x", "content-type": "application/json"}
    listed = documented.find("GET", "/incidents")
    assert listed is not None
    good = [("statuses[]", "triggered"), ("limit", "100"), ("sort_by", "created_at:asc"), ("date_range", "all")]
    assert documented.request_mistakes(listed, good, headers, b"") == []
    for name, value in (("statuses", "triggered"), ("statuses[]", "open"), ("limit", "many"), ("updated_since", "x")):
        assert len(documented.request_mistakes(listed, [*good, (name, value)], headers, b"")) == 1
    assert len(documented.request_mistakes(listed, good, {}, b"")) == 2
    update = documented.find("PUT", "/incidents/P1")
    assert update is not None
    signed = headers | {"From": "alice@example.com"}
    body: Any = {"incident": {"type": "incident_reference", "status": "resolved"}}
    assert documented.request_mistakes(update, [], signed, json.dumps(body).encode()) == []
    assert len(documented.request_mistakes(update, [], headers, json.dumps(body).encode())) == 1
    body["incident"]["status"] = "closed"
    assert len(documented.request_mistakes(update, [], signed, json.dumps(body).encode())) == 1
    assert len(documented.request_mistakes(update, [], signed, b"")) == 1


def test_every_endpoint_of_the_simulator_is_in_the_api_description() -> None:
    for method, pattern, _ in routes.ROUTES:
        path = pattern.pattern.replace("(?P<id>[^/]+)", "P1")
        assert documented.find(method, path) is not None, f"{method} {path}"
