"""The lists: filters in the URL, parts that go backwards in time, filters that are wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from daemon.storage import schema
from tests.harness import sample_data

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock
    from tests.page.person import Person


def ids(text: str, kind: str) -> list[str]:
    """Return the ids of a list's entries, in its order."""
    return list(dict.fromkeys(re.findall(rf'<td [^>]*><a[^>]* href="/{kind}/([^"]+)">', text)))


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("/deliveries", "deliveries", ["5", "4", "3", "2", "1"]),
        ("/deliveries?target=ops&state=pending", "deliveries", ["4", "3"]),
        ("/deliveries?trigger=done&incident=", "deliveries", ["5"]),
        ("/deliveries?incident=P2", "deliveries", ["2"]),
        ("/events?incident=P4", "events", ["evt_4"]),
        ("/events?type=incident.resolved", "events", ["evt_5"]),
        ("/actions?state=failed", "actions", ["act_2"]),
        ("/actions?connection=beta&operation=CreateIncident", "actions", ["act_5"]),
    ],
)
async def test_a_list_shows_what_its_url_says_the_newest_first(
    person: Person, path: str, kind: str, expected: list[str]
) -> None:
    assert ids(await person.read(path), kind) == expected


async def test_a_filter_form_fills_the_url_and_the_url_fills_the_form(person: Person) -> None:
    text = await person.read("/deliveries?target=ops&state=dead")
    form = next(
        each for each in await person.forms("/deliveries?target=ops&state=dead") if each.action == "/deliveries"
    )
    assert (form.method, form.fields) == ("get", {"target": "ops", "state": "dead", "trigger": "", "incident": ""})
    assert form.options["state"] == ["", "pending", "retrying", "delivered", "dead"]
    assert "#2" in text


@pytest.mark.parametrize(
    "path",
    [
        "/deliveries?state=nope",
        "/deliveries?target=nobody",
        "/deliveries?trigger=%00",
        "/deliveries?incident=%1b",
        "/deliveries?before=x",
        "/events?type=nothing",
        "/events?connection=nobody",
        "/events?before=-1",
        "/actions?state=nope",
        "/actions?connection=nobody",
        "/replays?before=1%20or%201",
    ],
)
async def test_a_wrong_filter_is_explained(person: Person, path: str) -> None:
    assert 'class="problem"' in await person.read(path, 422)


async def test_a_long_list_is_read_backwards_in_parts_without_gaps(
    person: Person, database: Database, clock: ManualClock
) -> None:
    for number in range(6, 130):
        row = sample_data.delivery(number, clock.now, message_id=f"msg_{number}")
        database.write_now(sample_data.insert, schema.deliveries, row)
    seen: list[str] = []
    path: str | None = "/deliveries?target=ops"
    while path is not None:
        text = await person.read(path)
        seen += ids(text, "deliveries")
        older = re.search(r'href="([^"]*)" rel="next"', text)
        path = None if older is None else older[1].replace("&amp;", "&")
    assert seen == [str(number) for number in (*range(129, 5, -1), 4, 3, 2)]


async def test_without_a_pick_list_an_id_can_be_typed(person: Person) -> None:
    assert "No list to choose from" in await person.read("/actions/new?operation=GetUser&connection=acme")
