"""Which triggers an event is for. Pure: the configuration and the users' ids are arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import resource
from daemon.model import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from daemon.model import Event, Json, Trigger, Where


class Index:
    """Triggers by event type, user and incident, so that an event costs a look-up and not a walk.

    ``users`` gives the PagerDuty id of each e-mail address that a trigger names (lower
    case); a trigger whose address is not in it cannot be matched: leave it out.
    """

    def __init__(self, triggers: Iterable[Trigger], users: Mapping[str, str]) -> None:
        self._index: dict[tuple[EventType, str | None, str | None], list[Trigger]] = {}
        for trigger in triggers:
            user = users[trigger.user.lower()] if is_email(trigger.user) and trigger.user else trigger.user
            self._index.setdefault((trigger.on, user, trigger.incident), []).append(trigger)

    def match(self, event: Event) -> list[Trigger]:
        """The triggers that send this event, in the order of the configuration's names."""
        users: set[str | None] = {None}
        if event.type is EventType.ASSIGNED:
            users |= {resource.text(assignee, "id") for assignee in resource.listed(event.payload, "assignees")}
        found = [
            trigger
            for user in users
            for incident in (None, event.incident_id)
            for trigger in self._index.get((event.type, user, incident), ())
        ]
        incident = resource.inner(event.payload, "incident")
        kept = (trigger for trigger in found if _fits(trigger.where, incident) and _not_before_start(trigger, event))
        return sorted(kept, key=lambda trigger: trigger.name)


def is_email(user: str | None) -> bool:
    """Whether a trigger names its user by e-mail address instead of by id."""
    return user is not None and "@" in user


def _not_before_start(trigger: Trigger, event: Event) -> bool:
    return trigger.start is None or event.occurred_at >= trigger.start


def _fits(where: Where, incident: Json) -> bool:
    """Whether the incident is what ``where`` asks for. What the incident does not say does not fit."""
    return (
        (not where.services or resource.text(resource.inner(incident, "service"), "id") in where.services)
        and (not where.urgencies or resource.text(incident, "urgency") in where.urgencies)
        and (
            not where.escalation_policies
            or resource.text(resource.inner(incident, "escalation_policy"), "id") in where.escalation_policies
        )
        and (
            not where.teams
            or bool(where.teams & {resource.text(team, "id") for team in resource.listed(incident, "teams")})
        )
    )
