"""The matching of events to triggers. Pure: the configuration and the users' ids are arguments."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon import triggers
from daemon.triggers import assigned, lenient_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from daemon.model import Event, Json
    from daemon.settings import Trigger, Where


@dataclass(frozen=True, slots=True)
class Match:
    """A trigger that an event matches, and the event type that it subscribed to, which is the message's type."""

    trigger: Trigger
    type: str


class Index:
    """An index of triggers by event type, user and incident.

    ``users`` maps the lower-case e-mail addresses of triggers to PagerDuty ids. Triggers whose address is missing there
    must be left out of ``subscribed``.
    """

    def __init__(self, subscribed: Iterable[Trigger], users: Mapping[str, str]) -> None:
        self._index: dict[tuple[str, str | None, str | None], list[Trigger]] = {}
        for trigger in subscribed:
            user = users[trigger.user.lower()] if is_email(trigger.user) and trigger.user else trigger.user
            for name in triggers.expand(trigger.on):
                self._index.setdefault((name, user, trigger.incident), []).append(trigger)

    def match(self, event: Event) -> list[Match]:
        """Return a match for each trigger that sends this event, in the order of their names.

        For a trigger that subscribed to the event's type and to its subtype, the type is used.
        """
        incident = lenient_json.get_object(event.payload, "incident")
        matches: dict[str, Match] = {}
        for each in self._subscribed(event):
            if _fits(each.trigger.where, incident) and _not_before_start(each.trigger, event):
                matches.setdefault(each.trigger.name, each)
        return [matches[name] for name in sorted(matches)]

    def _subscribed(self, event: Event) -> Iterator[Match]:
        names = [name for name in (event.type, triggers.subtype(event)) if name]
        users: set[str | None] = {None}
        if event.type == assigned.TYPE.name:
            users |= {
                lenient_json.get_text(assignee, "id")
                for assignee in lenient_json.get_objects(event.payload, "assignees")
            }
        for name, user, incident in itertools.product(names, users, (None, event.incident_id)):
            for trigger in self._index.get((name, user, incident), ()):
                yield Match(trigger, name)


def is_email(user: str | None) -> bool:
    """Return whether a trigger's user is an e-mail address instead of an id."""
    return user is not None and "@" in user


def _not_before_start(trigger: Trigger, event: Event) -> bool:
    return trigger.start is None or event.occurred_at >= trigger.start


def _fits(where: Where, incident: Json) -> bool:
    """Return whether an incident matches ``where``. A field that the incident lacks does not match."""
    return (
        (
            not where.services
            or lenient_json.get_text(lenient_json.get_object(incident, "service"), "id") in where.services
        )
        and (not where.urgencies or lenient_json.get_text(incident, "urgency") in where.urgencies)
        and (
            not where.escalation_policies
            or lenient_json.get_text(lenient_json.get_object(incident, "escalation_policy"), "id")
            in where.escalation_policies
        )
        and (
            not where.teams
            or bool(
                where.teams
                & {lenient_json.get_text(team, "id") for team in lenient_json.get_objects(incident, "teams")}
            )
        )
    )
