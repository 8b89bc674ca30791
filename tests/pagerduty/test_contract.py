"""Every request that the client makes is as PagerDuty's API descriptions say, where those lie beside the checkout.

Elsewhere nothing here is a test. The other side is the simulator.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from daemon.model import CallPriority
from daemon.pagerduty import lookups, writes
from daemon.simulator import Account, Simulator
from daemon.simulator.http import SimRequest
from tests.conftest import START
from tests.pagerduty.scripted_pagerduty import KEY
from tests.simulator import documented

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.pagerduty import Client
    from daemon.simulator.incident import Incident
    from tests.pagerduty.scripted_pagerduty import ScriptedPagerDuty

    Use = Callable[[Client, Account, Incident], Awaitable[object]]

__test__ = bool(documented.operations())

FROM = "alice@example.com"
RESOLVED = {"status": "resolved"}
LATER = START + timedelta(minutes=5)
USES: dict[str, Use] = {
    "log_entries": lambda client, _account, _incident: client.log_entries(START, LATER, CallPriority.POLL),
    "open_incidents": lambda client, _account, _incident: client.open_incidents(CallPriority.RECONCILIATION),
    "incident": lambda client, _account, incident: client.incident(incident.id, CallPriority.RECONCILIATION),
    "find_user": lambda client, _account, _incident: client.find_user("Bob@example.com", CallPriority.POLL),
    "lookups.user": lambda client, account, _: lookups.user(client, account.directory.users[0].id),
    "lookups.incident": lambda client, _account, incident: lookups.incident(client, incident.id),
    "lookups.incidents": lambda client, _account, incident: lookups.incidents(client, {incident.id, "P"}),
    "lookups.incidents_by_key": lambda client, _account, _incident: lookups.incidents_by_key(client, "disk & more"),
    "lookups.last_entry": lambda client, _account, incident: lookups.last_entry(
        client, incident.id, "escalate_log_entry"
    ),
    "lookups.notes": lambda client, _account, incident: lookups.notes(client, incident.id),
    "lookups.users": lambda client, _account, _incident: lookups.users(client, "ali"),
    "lookups.escalation_policies": lambda client, _account, _incident: lookups.escalation_policies(client, None),
    "lookups.newest_incidents": lambda client, _account, _incident: lookups.newest_incidents(client, "disk"),
    "writes.update_incident": lambda client, _, incident: writes.update_incident(client, incident.id, RESOLVED, FROM),
    "writes.update_incidents": lambda client, _, incident: writes.update_incidents(
        client, {incident.id: RESOLVED}, FROM
    ),
    "writes.add_note": lambda client, _account, incident: writes.add_note(client, incident.id, "Größe ✓", FROM),
    "writes.snooze": lambda client, _account, incident: writes.snooze(client, incident.id, 3600, FROM),
    "writes.trigger": lambda client, account, _: writes.trigger(
        client, account.directory.services[0].key, "Disk full", "disk"
    ),
}


@pytest.mark.parametrize("use", USES)
async def test_every_request_and_response_matches_the_api_description(fake: ScriptedPagerDuty, use: str) -> None:
    account = Account(api_key=KEY, clock=fake.clock)
    incident = account.trigger("Disk full", key="disk & more")
    account.acknowledge(incident.id, account.directory.users[0])
    account.annotate(incident.id, account.directory.users[0], "Looking into it.")
    simulator = Simulator([account])
    mistakes: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        query, headers = request.url.params.multi_items(), dict(request.headers)
        operation = documented.find(request.method, request.url.path)
        assert operation is not None, request.url
        mistakes.extend(documented.request_mistakes(operation, query, headers, request.content))
        response = await simulator.answer(
            SimRequest(request.method, request.url.path, tuple(query), headers, request.content)
        )
        mistakes.extend(documented.answer_mistakes(operation, response.status, response.body))
        return httpx.Response(response.status, headers=response.headers, content=response.body)

    await USES[use](fake.client(transport=httpx.MockTransport(answer)), account, incident)
    assert mistakes == []
    assert {call.status // 100 for call in simulator.calls} == {2}


def test_this_test_covers_every_method_that_calls_pagerduty() -> None:
    asking = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (lookups, writes)
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert {use for use in USES if "." in use} == asking
