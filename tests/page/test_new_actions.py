"""Actions from the page: forms from the registry with pick-lists, queued once, and explained when they are wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson
import pytest
import sqlalchemy as sa

from daemon import actions
from daemon.control import Current
from daemon.page.choices import KEPT_SECONDS, MOST_SEARCHES, Choices
from daemon.pagerduty import lookups
from daemon.storage import schema
from tests.harness import sample_data
from tests.harness.watch import Watch
from tests.page.person import forms_in, visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.storage.database import Database
    from tests.api.action_api import ActionApi
    from tests.page.person import Form, Person


@pytest.fixture
async def person(action_api: ActionApi) -> AsyncIterator[Person]:
    async with visiting(action_api.app) as signed_in:
        yield signed_in


async def form_of(person: Person, operation: str, **prefilled: str) -> Form:
    query = "&".join(f"{name}={value}" for name, value in prefilled.items())
    (form,) = [
        each
        for each in await person.forms(f"/actions/new?operation={operation}&{query}")
        if each.action == f"/actions/{operation}"
    ]
    return form


@pytest.mark.parametrize("operation", actions.REGISTRY)
async def test_each_operation_has_a_form_with_its_parameters(person: Person, operation: str) -> None:
    form = await form_of(person, operation)
    assert (form.method, form.action) == ("post", f"/actions/{operation}")
    assert [*form.fields] == ["connection", "key", *actions.REGISTRY[operation].parameters.model_fields]
    assert f'operation={operation}"' in await person.read("/actions/new")


async def test_the_pick_lists_offer_ids_by_name_and_cost_one_call_each(person: Person, action_api: ActionApi) -> None:
    incident = action_api.incident()
    for _ in range(3):
        text = await person.read("/actions/new?operation=ReassignIncident")
        assert re.search(rf'<option value="{incident.id}">[^<]*Disk almost full', text)
        assert text.count(f'<option value="{action_api.alice}">Alice') == 2
    assert len(action_api.simulator.calls) == 2


async def test_names_are_looked_up_without_a_script_and_nothing_is_queued(
    person: Person, action_api: ActionApi
) -> None:
    form = await form_of(person, "AcknowledgeIncident")
    response = await person.send(form, userId="alice", look_up="yes")
    assert response.status_code == 200
    assert re.search(rf"1 entry matches “alice”: Alice[^<]*<span class=\"code\">{action_api.alice}", response.text)
    (shown_again,) = [each for each in forms_in(response.text) if each.label == "Acknowledge incident"]
    assert shown_again.fields["userId"] == "alice"
    assert await action_api.queued() == []


async def test_a_whole_list_is_searched_here_and_a_long_one_at_pagerduty_within_bounds(
    action_api: ActionApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    lists = Choices(action_api.database, Current(action_api.settings, action_api.work), watch)
    assert [each.id for each in (await lists.read("acme", "users", "ALICE")).choices] == [action_api.alice]
    assert len(action_api.simulator.calls) == 1
    watch.seconds += KEPT_SECONDS["users"]
    monkeypatch.setattr(lookups, "MOST", 2)  # so that two users make a list that may have more
    sizes = [len((await lists.read("acme", "users", text)).choices) for text in ("", "a", "al", "alice", "alice a")]
    assert sizes == [2, 2, 1, 1, 1]
    assert len(action_api.simulator.calls) == 4, "al is a whole list, so that more letters need no call"
    for number in range(2 * MOST_SEARCHES):
        await lists.read("acme", "users", f"x{number}")
    assert len(action_api.simulator.calls) <= 4 + MOST_SEARCHES


async def test_options_are_for_those_who_may_act(person: Person, action_api: ActionApi) -> None:
    path = "/actions/new/options?connection=acme&kind=users&text=alice"
    assert f'value="{action_api.alice}"' in await person.read(path)
    for query in ("kind=nothing&connection=acme", "kind=users&connection=nobody"):
        await person.read(f"/actions/new/options?{query}", 404)


async def test_an_incident_is_resolved_from_its_page(person: Person, action_api: ActionApi) -> None:
    incident = action_api.incident()
    form = await form_of(person, "ResolveIncident", incidentId=incident.id)
    assert form.fields["incidentId"] == incident.id
    response = await person.send(form, userId=action_api.alice)
    again = await person.send(form, userId=action_api.alice)
    assert response.status_code == 303
    assert response.headers["location"].startswith("/actions/")
    assert again.headers["location"] == response.headers["location"], "a form sent twice is one action"
    assert action_api.woken == ["acme", "acme"]
    text = await person.read(response.headers["location"])
    assert "ResolveIncident" in text
    assert incident.id in text


async def test_a_form_changed_after_it_was_sent_is_another_action(person: Person, action_api: ActionApi) -> None:
    form = await form_of(person, "ResolveIncident", incidentId="P1")
    places = {(await person.send(form, userId=user)).headers["location"] for user in ("PA", "PB")}
    assert len(places) == 2


async def test_wrong_values_show_the_form_again_with_what_is_wrong(person: Person, action_api: ActionApi) -> None:
    form = await form_of(person, "SnoozeIncident")
    response = await person.send(form, incidentId="P 1", userId="", duration="long")
    assert response.status_code == 422
    for each in ("must be an id or key, without spaces", "is required", "must be a whole number from 1 to 604800"):
        assert each in response.text
    (shown_again,) = [each for each in forms_in(response.text) if each.label == "Snooze incident"]
    assert shown_again.fields["incidentId"] == "P 1"
    assert await action_api.queued() == []


async def test_a_name_instead_of_a_users_id_is_explained_at_once_with_the_entries_that_match(
    person: Person, action_api: ActionApi
) -> None:
    form = await form_of(person, "AcknowledgeIncident", incidentId=action_api.incident().id)
    response = await person.send(form, userId="alice")
    assert response.status_code == 422
    assert "looks like a name: choose the user from the list, or type an id such as PXPGF42" in response.text
    assert re.search(rf"1 entry matches “alice”: Alice[^<]*<span class=\"code\">{action_api.alice}", response.text)
    assert await action_api.queued() == []


async def test_a_form_names_its_operation_incident_and_user_in_words(
    person: Person, action_api: ActionApi, database: Database
) -> None:
    incident = action_api.incident()
    text = await person.read(f"/actions/new?operation=AcknowledgeIncident&incidentId={incident.id}")
    assert "<h1>Acknowledge incident</h1>" in text
    assert re.search(rf'<p class="lead">\[#{incident.number}\] Disk almost full', text)
    now = database.clock()
    payload = orjson.dumps({"incident": {"incident_number": 7, "title": "Disk <full>"}}).decode()
    database.write_now(
        sample_data.insert, schema.events, sample_data.event(1, now, incident_id="POLD", payload=payload)
    )
    known = await person.read("/actions/new?operation=ResolveIncident&incidentId=POLD")
    assert '<p class="lead">#7 Disk &lt;full&gt;</p>' in known, "of the journal, once it is not open any more"
    assert 'class="lead"' not in await person.read("/actions/new?operation=ResolveIncident&incidentId=PNONE")


async def test_the_next_form_remembers_the_user_of_the_last_action(person: Person, action_api: ActionApi) -> None:
    form = await form_of(person, "ResolveIncident", incidentId="P1")
    assert form.fields["userId"] == ""
    response = await person.send(form, userId=action_api.alice)
    (cookie,) = [each for each in response.headers.get_list("set-cookie") if each.startswith("pagerelay_user=")]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    form = await form_of(person, "AcknowledgeIncident")
    assert form.fields["userId"] == action_api.alice
    assert "Alice" in (await person.read("/actions/new?operation=AcknowledgeIncident")).partition("<datalist")[2]
    assert (await form_of(person, "AcknowledgeIncident", userId="PBOB")).fields["userId"] == "PBOB"


async def test_a_failed_action_can_be_changed_and_tried_again(person: Person, database: Database) -> None:
    now = database.clock()
    failed = {"state": "failed", "finished_at": now, "error": '{"code": "not_found", "message": "unknown user"}'}
    note = {"incidentId": "P1", "userId": "PNOBODY", "note": "line 1\nline 2 & <b>"}
    key = {"service_key": "canary-service", "description": "Disk full"}
    row = sample_data.action(1, now, operation="AddNoteToIncident", parameters=orjson.dumps(note).decode()) | failed
    secret = sample_data.action(2, now, operation="CreateIncident", parameters=orjson.dumps(key).decode()) | failed
    database.write_now(sample_data.insert, schema.actions, row, secret | {"secret": '["service_key"]'})
    assert 'href="/actions/new?again=act_1">Change and try again</a>' in await person.read("/actions/act_1")
    text = await person.read("/actions/new?again=act_1")
    (form,) = [each for each in forms_in(text) if each.action == "/actions/AddNoteToIncident"]
    assert (form.fields["incidentId"], form.fields["userId"]) == ("P1", "PNOBODY")
    assert ">line 1\nline 2 &amp; &lt;b&gt;</textarea>" in text
    text = await person.read("/actions/new?again=act_2")
    assert ("Disk full" in text, "canary-service" in text) == (True, False)
    await person.read("/actions/new?again=act_9", 404)


async def test_the_lines_of_a_note_end_as_pagerduty_s_do(person: Person, database: Database) -> None:
    fields = {"connection": "acme", "incidentId": "P1", "userId": "PALICE", "note": "line 1\r\nline 2"}
    await person.http.post("/actions/AddNoteToIncident", data=fields)
    queued = sa.select(schema.actions.c.parameters).order_by(schema.actions.c.seq.desc()).limit(1)
    parameters = database.read_now(lambda tx: tx.execute(queued).scalar_one())
    assert orjson.loads(parameters)["note"] == "line 1\nline 2"


async def test_an_unknown_connection_or_operation_is_refused(person: Person) -> None:
    response = await person.http.post(
        "/actions/ResolveIncident", data={"connection": "nobody", "incidentId": "P1", "userId": "P2"}
    )
    assert (response.status_code, "unknown connection" in response.text) == (422, True)
    assert (await person.http.post("/actions/Nothing", data={})).status_code == 404


async def test_a_secret_parameter_is_never_shown(person: Person) -> None:
    form = await form_of(person, "CreateIncident", service_key="canary-service")
    assert form.fields["service_key"] == ""
    response = await person.send(form, service_key="canary-service", description="")
    assert (response.status_code, "canary-service" in response.text) == (422, False)
    response = await person.send(form, service_key="canary-service", description="Disk full")
    assert "canary-service" not in await person.read(response.headers["location"])
