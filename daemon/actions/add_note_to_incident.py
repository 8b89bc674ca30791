"""The operation AddNoteToIncident."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints

from daemon import errors
from daemon.actions import objects
from daemon.actions.change import not_found, with_sender
from daemon.actions.operation import ActionRun, Id, Operation, Parameters, Succeeded, UserId
from daemon.model import Outcome
from daemon.pagerduty import lookups, writes
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json

LONGEST_NOTE = 25_000
# PagerDuty's times are whole seconds, and clocks are compared by a response that took a while.
TOLERANCE = timedelta(seconds=3)


class AddNoteToIncident(Parameters):
    """The incident, the author of the note, and its text."""

    incidentId: Id  # noqa: N815 - the connector's name
    userId: UserId  # noqa: N815
    note: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NOTE, pattern=r"\S")]


async def run(action_run: ActionRun, parameters: AddNoteToIncident) -> Succeeded:
    """Add the note unless an earlier run did: PagerDuty itself would add it again."""
    what = f"incident {parameters.incidentId}"
    try:
        await action_run.sender(parameters.userId)
        if action_run.repeated:
            note = await _added(action_run, parameters)
            if note is not None:
                return Succeeded(Outcome.DONE, objects.added_note(note, parameters.userId))
        await action_run.begin({action_run.action.id: None})
        note = await with_sender(
            action_run,
            parameters.userId,
            lambda sender: writes.add_note(action_run.client, parameters.incidentId, parameters.note, sender),
        )
    except errors.Permanent as error:
        raise not_found(error, what) from None
    return Succeeded(Outcome.DONE, objects.added_note(note, parameters.userId))


async def _added(action_run: ActionRun, parameters: AddNoteToIncident) -> Json | None:
    """Return the note that an earlier run added: by this user, with this text, since then, and by no other action."""
    notes, server_time = await lookups.notes(action_run.client, parameters.incidentId)
    written_at = action_run.action.write_began_at
    if written_at is None:
        return None
    now = action_run.now()
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
            and lenient_json.get_text(note, "id") not in action_run.others_notes
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
