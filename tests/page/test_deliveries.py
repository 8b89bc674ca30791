"""One delivery: every attempt, what was sent, what came back; sending one or many again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon.storage import replays, schema
from tests.harness import sample_data
from tests.page.person import forms_in

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock
    from tests.page.person import Person


async def test_a_delivery_shows_each_attempt_and_its_answer(person: Person) -> None:
    text = await person.read("/deliveries/3")
    for each in ("answered 503", "no response within 15 s", "1,200 ms", "full", "incident.triggered to ops"):
        assert each in text


async def test_it_shows_what_is_sent_without_signatures_and_configured_values(person: Person) -> None:
    text = await person.read("/deliveries/3")
    for each in ("msg_3_new", "application/json", "X-Key", "&#34;type&#34;: &#34;incident.triggered&#34;"):
        assert each in text
    for hidden in ("canary-header", "webhook-signature", "v1,"):
        assert hidden not in text


async def test_a_dead_delivery_is_sent_again(person: Person, woken: list[str]) -> None:
    response = await person.press("/deliveries/2", "Send again")
    assert (response.status_code, response.headers["location"], woken) == (303, "/deliveries/2", ["ops"])
    assert "Next attempt now" in await person.read("/deliveries/2")


async def test_a_delivery_whose_message_is_gone_says_so(person: Person, database: Database) -> None:
    database.write_now(lambda tx: tx.execute(sa.delete(schema.messages)))
    assert "cannot be sent again" in await person.read("/deliveries/2")
    assert (await person.http.post("/deliveries/2/redeliver")).status_code == 404


async def test_everything_that_matches_is_counted_first_and_sent_again_when_confirmed(
    person: Person, database: Database, clock: ManualClock, woken: list[str]
) -> None:
    first = await person.press("/deliveries?target=ops&state=dead", "Count them")
    assert (first.status_code, "Send 1 delivery again?" in first.text) == (200, True)
    assert [
        re.sub(r"\s+", " ", each) for each in re.findall(r"<dt>(?:Events|Left out)</dt><dd>(.*?)</dd>", first.text)
    ] == [
        "1",
        "2 pending (sent anyway)",
    ]
    assert database.read_now(replays.has_open) is False
    (confirm,) = [each for each in forms_in(first.text) if each.label == "Send 1 again"]
    second = await person.send(confirm)
    assert (second.status_code, second.headers["location"], woken) == (303, "/replays/1", ["replays"])
    assert "0 of 1 sent" in await person.read("/replays/1")
    database.write_now(replays.advance, clock.advance(1))
    cancelled = await person.press("/replays/1", "Cancel")
    assert cancelled.headers["location"] == "/replays/1"
    assert "cancelled" in await person.read("/replays/1")
    assert 'href="/replays/1"' in await person.read("/replays")


async def test_a_replay_covers_the_period_of_its_form(person: Person) -> None:
    form = next(each for each in await person.forms("/replays") if each.label == "Count them")
    assert list(form.fields) == ["since", "until", "trigger", "target", "state"]
    assert form.fields["since"] == "2026-11-23T09:00:00Z"
    counts = {}
    for since, until in (
        ("2026-11-23T09:00:00Z", ""),
        ("2026-11-23T09:00", "2026-11-23T09:30"),
        ("2026-11-23T11:00+02:00", ""),
        ("1h ago", ""),
        ("2h", "90m"),
    ):
        text = (await person.send(form, since=since, until=until)).text
        counts[since, until] = text.partition("<h1>")[2].partition("</h1>")[0]
    three, none = "Send 3 deliveries again?", "No delivery matches"
    assert list(counts.values()) == [three, none, three, three, none]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"since": ""}, "since: is required"),
        ({"since": "yesterday"}, "since: must be a duration such as 2h, or a time"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since: must be a duration such as 2h, or a time"),
        ({"since": "1800-01-01T00:00:00Z"}, "between the years"),
        ({"until": "1999-01-01T00:00:00Z"}, "until: must not be before since"),
        ({"target": "nobody"}, "unknown target"),
        ({"trigger": "nobody"}, "unknown trigger"),
        ({"state": "pending"}, "state: must be dead or delivered"),
    ],
)
async def test_an_invalid_replay_shows_the_form_again(person: Person, fields: dict[str, str], message: str) -> None:
    for confirm in ("no", "yes"):
        valid = {"since": "2026-11-23T09:00:00Z", "until": "", "trigger": "", "target": "", "state": ""}
        response = await person.http.post("/replays", data=valid | {"confirm": confirm} | fields)
        assert (response.status_code, message in response.text) == (422, True)
    assert "Nothing has been replayed yet" in await person.read("/replays")


async def test_an_incident_is_told_in_one_line_of_time(person: Person, database: Database, clock: ManualClock) -> None:
    note = sample_data.event(9, clock.now, incident_id="P2", type="incident.annotated")
    database.write_now(sample_data.insert, schema.events, note)
    text = await person.read("/incidents/P2")
    story = text.partition("<h2>What happened</h2>")[2]
    places = [
        story.index(each) for each in ('"/events/evt_2"', '"/actions/act_2"', '"/deliveries/2"', '"/events/evt_9"')
    ]
    assert places == sorted(places)
    assert "operation=ResolveIncident&amp;connection=acme&amp;incidentId=P2" in text
