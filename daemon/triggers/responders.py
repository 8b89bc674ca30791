"""People who were asked to help with an incident, and their answers: how incidents show them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json
from daemon.triggers.event_type import Difference, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from daemon.model import Json

PART = "incidents_responders"  # of an incident, if the account may request responders
ANSWERS = frozenset({"joined", "declined"})
KEYS = ("id", "type", "summary", "self", "html_url")


def sample(state: str) -> Sample:
    """Return the sample of an event type."""
    user = {"id": "PTESTRESPONDER", "type": "user_reference", "summary": "Test Responder"}
    requester = {"id": "PTESTUSER", "type": "user_reference", "summary": "Test User"}
    responder = {"user": user, "state": state, "message": "Please help.", "requester": requester}
    return Sample(changes={"responder": responder})


def requested(before: Json, after: Json) -> list[Difference]:
    """Return the requests that are new."""
    known = dict(_by_request(before))
    return [
        Difference(
            _changes(responder, "pending"),
            lenient_json.get_time(responder, "requested_at"),
            lenient_json.get_object(responder, "requester") or None,
            request[0],
        )
        for request, responder in _new(before, after)
        if request not in known
    ]


def answered(before: Json, after: Json) -> list[Difference]:
    """Return the requests that were answered, also those that are new themselves."""
    known = dict(_by_request(before))
    return [
        Difference(
            _changes(responder, state),
            lenient_json.get_time(responder, "updated_at"),
            lenient_json.get_object(responder, "user"),
            request[0],
        )
        for request, responder in _new(before, after)
        if (state := lenient_json.get_text(responder, "state")) in ANSWERS
        and state != lenient_json.get_text(known.get(request), "state")
    ]


def _new(before: Json, after: Json) -> list[tuple[tuple[str, datetime | None], Json]]:
    """Return the requests of a reading, or none if one of the two readings has no list of them."""
    both = all(isinstance(each.get(PART), list) for each in (before, after))
    return list(_by_request(after)) if both else []


def _by_request(incident: Json) -> Iterator[tuple[tuple[str, datetime | None], Json]]:
    """Yield each responder with what identifies the request: the same user can be asked again."""
    for responder in lenient_json.get_objects(incident, PART):
        if user := lenient_json.get_text(lenient_json.get_object(responder, "user"), "id"):
            yield (user, lenient_json.get_time(responder, "requested_at")), responder


def _changes(responder: Json, state: str) -> Json:
    people = {name: lenient_json.get_object(responder, name) for name in ("user", "requester")}
    user, requester = ({key: each[key] for key in KEYS if key in each} for each in people.values())
    message = lenient_json.get_text(responder, "message")
    return {"responder": {"user": user, "state": state, "message": message, "requester": requester or None}}
