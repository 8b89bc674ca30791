"""The operation AddNoteToIncident."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints

from daemon import errors
from daemon.actions import objects
from daemon.actions.change import not_found, with_sender
from daemon.actions.operation import ActionRun, Id, Operation, Parameters, Succeeded
from daemon.model import Outcome
from daemon.pagerduty import lookups, writes
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json

LONGEST_NOTE = 25_000
# PagerDuty's times are whole seconds, and its clock is compared with ours by an answer that took a while.
TOLERANCE = timedelta(seconds=3)


class AddNoteToIncident(Parameters):
    """Which incident, who writes the note, and its text."""

    incidentId: Id  # noqa: N815 - the connector's name
    userId: Id  # noqa: N815
    note: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NOTE, pattern=r"\S")]


async def run(given: ActionRun, parameters: AddNoteToIncident) -> Succeeded:
    """Add the note, unless an earlier try did: PagerDuty itself would add it again."""
    what = f"incident {parameters.incidentId}"
    try:
        await given.sender(parameters.userId)
        if given.repeated:
            found = await _added(given, parameters)
            if found is not None:
                return Succeeded(Outcome.DONE, objects.added_note(found, parameters.userId))
        await given.begin({given.action.id: None})
        note = await with_sender(
            given,
            parameters.userId,
            lambda sender: writes.add_note(given.client, parameters.incidentId, parameters.note, sender),
        )
    except errors.Permanent as error:
        raise not_found(error, what) from None
    return Succeeded(Outcome.DONE, objects.added_note(note, parameters.userId))


async def _added(given: ActionRun, parameters: AddNoteToIncident) -> Json | None:
    """The note that an earlier try added: by this user, with this text, since then, and no other action's."""
    notes, server_time = await lookups.notes(given.client, parameters.incidentId)
    written_at = given.action.write_began_at
    if written_at is None:
        return None
    now = given.now()
    since = written_at + ((server_time or now) - now) - TOLERANCE
    for note in notes:
        at = lenient_json.get_time(note, "created_at")
        mine = lenient_json.get_text(lenient_json.get_object(note, "user"), "id") == parameters.userId
        same = (lenient_json.get_text(note, "content") or "").strip() == parameters.note.strip()
        if (
            mine
            and same
            and at is not None
            and at >= since
            and lenient_json.get_text(note, "id") not in given.others_notes
        ):
            return note
    return None


OPERATION = Operation(
    name="AddNoteToIncident",
    help="Add a note to an incident.",
    parameters=AddNoteToIncident,
    result="AddNoteResponse",
    run=run,
    incident_id=lambda parameters: parameters.incidentId,
)
