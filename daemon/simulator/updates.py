"""The changes that an update of an incident requests, all checked before the first is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.model import IncidentStatus
from daemon.simulator import records, refusals
from daemon.simulator.quirks import Repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.model import Json
    from daemon.simulator.account import Account
    from daemon.simulator.directory import Policy, Priority, User
    from daemon.simulator.incident import Incident

TYPES = ("incident", "incident_reference")
URGENCIES = ("high", "low")


@dataclass(frozen=True, slots=True)
class Update:
    """One valid change: ``act`` makes it."""

    what: str
    act: Callable[[], object]
    detail: str | None = None
    reopens: bool = False


def changes(account: Account, incident: Incident, body: Json, by: User) -> list[Update]:
    """Return all changes of an update, in order. Raises RefusedError if one is not allowed.

    A value that is set already is not a change.
    """
    if body.get("type") not in TYPES:
        raise refusals.invalid("Incident type is invalid")
    status, users, policy = _status(body), _assignees(account, body), _policy(account, body)
    if users and policy:
        raise refusals.invalid("Assignments and escalation policy cannot be given together")
    updates = list(_details(account, incident, body, by))
    if status is IncidentStatus.TRIGGERED and not incident.is_open:
        return [*updates, _reopening(account, incident, users, policy, by)]
    if users:
        if not incident.is_open:
            raise refusals.cannot_reassign()
        updates.append(Update("reassign", lambda: account.reassign(incident.id, by, users), _ids(users)))
    updates += _escalation(account, incident, body, policy, by)
    return [*updates, *_to_status(account, incident, body, status, by)]


def _reopening(account: Account, incident: Incident, users: list[User], policy: Policy | None, by: User) -> Update:
    """Return the change that reopens an incident and assigns it as requested, or else by its policy."""
    to = _ids(users) or (policy.id if policy else None)
    return Update("reopen", lambda: account.reopen(incident.id, by, users=users, policy=policy), to, reopens=True)


def _escalation(account: Account, incident: Incident, body: Json, policy: Policy | None, by: User) -> Iterator[Update]:
    """Yield the escalation: to another policy, to another level, or to a level of another policy."""
    number = body.get("escalation_level")
    if policy is None and number is None:
        return
    if not incident.is_open:
        raise refusals.cannot_escalate("Incident is resolved")
    to = policy or incident.policy
    level = None if number is None else _level(number, to)
    detail = to.id if number is None else f"{to.id} level {number}"
    yield Update("escalate", lambda: account.escalate(incident.id, by, policy=to, level=level), detail)


def _details(account: Account, incident: Incident, body: Json, by: User) -> Iterator[Update]:
    """Yield the changes of title, urgency and priority: also of a resolved incident."""
    title, urgency = body.get("title", incident.title), body.get("urgency", incident.urgency)
    priority = _priority(account, body)
    if not isinstance(title, str) or not title.strip():
        raise refusals.invalid("Title cannot be empty")
    if urgency not in URGENCIES:
        raise refusals.invalid("Urgency must be high or low")
    if title != incident.title:
        yield Update("retitle", lambda: account.change(incident.id, by, "retitle", title=title), title)
    if urgency != incident.urgency:
        yield Update("change_urgency", lambda: account.change(incident.id, by, "change_urgency"), urgency)
    if priority and priority is not incident.priority:
        to = records.priority(priority)
        act = lambda: account.change(incident.id, by, "change_priority", priority=to)  # noqa: E731
        yield Update("change_priority", act, priority.name)


def _to_status(
    account: Account, incident: Incident, body: Json, status: IncidentStatus | None, by: User
) -> Iterator[Update]:
    """Yield the change of status. Repeating a status is refused with 1001 or 1002, or ignored: a quirk of the account.

    An acknowledgement is a repetition only if it is by the same requester.
    """
    repeated = account.habits.repeat
    if status is IncidentStatus.RESOLVED:
        note = _resolution(body)
        if incident.is_open:
            yield Update("resolve", lambda: account.resolve(incident.id, by, note), note)
        elif repeated is Repeat.REFUSED:
            raise refusals.already_resolved()
    elif status is IncidentStatus.ACKNOWLEDGED:
        if by not in [user for user, _ in incident.acknowledged] or repeated is Repeat.RENEWED:
            act, reopens = (lambda: account.acknowledge(incident.id, by)), not incident.is_open
            yield Update("acknowledge", act, reopens=reopens)
        elif repeated is Repeat.REFUSED:
            raise refusals.already_acknowledged()
    elif status is IncidentStatus.TRIGGERED and incident.status is IncidentStatus.ACKNOWLEDGED:
        yield Update("unacknowledge", lambda: account.unacknowledge(incident.id, by))


def _status(body: Json) -> IncidentStatus | None:
    name = body.get("status")
    if name is None:
        return None
    try:
        return IncidentStatus(name)
    except ValueError:
        raise refusals.bad_status(name) from None


def _resolution(body: Json) -> str | None:
    text = body.get("resolution")
    if text is not None and not isinstance(text, str):
        raise refusals.invalid("Resolution must be a text")
    return text or None


def _assignees(account: Account, body: Json) -> list[User]:
    """Return the users to assign; none if the update does not name any."""
    assignments = body.get("assignments")
    if assignments is None:
        return []
    if not isinstance(assignments, list) or not assignments:
        raise refusals.invalid("Assignments must name somebody")
    known = {user.id: user for user in account.directory.users}
    users = []
    for assignment in assignments:
        identity = _reference(assignment.get("assignee") if isinstance(assignment, dict) else None, "user")
        if identity not in known:
            raise refusals.no_such_assignee(f"User {identity} not found")
        users.append(known[identity])
    return users


def _policy(account: Account, body: Json) -> Policy | None:
    if (reference := body.get("escalation_policy")) is None:
        return None
    identity = _reference(reference, "escalation_policy")
    for policy in account.directory.policies:
        if policy.id == identity:
            if not any(policy.levels):
                raise refusals.nobody_on_call()
            return policy
    raise refusals.no_such_policy()


def _level(number: object, policy: Policy) -> int:
    """Return a level counted from 0; requests count from 1."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise refusals.invalid("Escalation level must be a number")
    if not 1 <= number <= len(policy.levels):
        raise refusals.cannot_escalate(f"Escalation level {number} does not exist")
    if not policy.levels[number - 1]:
        raise refusals.nobody_on_call()
    return number - 1


def _priority(account: Account, body: Json) -> Priority | None:
    """Return a priority by name or by reference."""
    if (value := body.get("priority")) is None:
        return None
    for priority in account.directory.priorities:
        if value == priority.name or (isinstance(value, dict) and value.get("id") == priority.id):
            return priority
    raise refusals.invalid("Priority is invalid")


def _reference(value: object, kind: str) -> str:
    """Return the id of a reference. Raises RefusedError if it is invalid."""
    if (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and value.get("type") in (kind, f"{kind}_reference")
    ):
        return str(value["id"])
    raise refusals.invalid(f"A reference to a {kind} needs its id and its type")


def _ids(users: list[User]) -> str | None:
    return ",".join(user.id for user in users) or None
