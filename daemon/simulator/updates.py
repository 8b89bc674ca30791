"""What an update of an incident asks for, checked whole before any of it is made."""

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
    """One change that can be made: ``act`` makes it."""

    what: str
    act: Callable[[], object]
    detail: str | None = None
    reopens: bool = False


def changes(account: Account, incident: Incident, asked: Json, by: User) -> list[Update]:
    """Every change that an update makes, in their order. Raises RefusedError for one that cannot be made.

    What is as it should be already is no change.
    """
    if asked.get("type") not in TYPES:
        raise refusals.invalid("Incident type is invalid")
    status, users, policy = _status(asked), _assignees(account, asked), _policy(account, asked)
    if users and policy:
        raise refusals.invalid("Assignments and escalation policy cannot be given together")
    found = list(_words(account, incident, asked, by))
    if status is IncidentStatus.TRIGGERED and not incident.is_open:
        return [*found, _reopening(account, incident, users, policy, by)]
    if users:
        if not incident.is_open:
            raise refusals.cannot_reassign()
        found.append(Update("reassign", lambda: account.reassign(incident.id, by, users), _ids(users)))
    found += _escalation(account, incident, asked, policy, by)
    return [*found, *_to_status(account, incident, asked, status, by)]


def _reopening(account: Account, incident: Incident, users: list[User], policy: Policy | None, by: User) -> Update:
    """Open again, and assigned to whom the update names, else as the incident's policy says."""
    to = _ids(users) or (policy.id if policy else None)
    return Update("reopen", lambda: account.reopen(incident.id, by, users=users, policy=policy), to, reopens=True)


def _escalation(account: Account, incident: Incident, asked: Json, policy: Policy | None, by: User) -> Iterator[Update]:
    """To another policy, to another level, or to that level of that policy."""
    given = asked.get("escalation_level")
    if policy is None and given is None:
        return
    if not incident.is_open:
        raise refusals.cannot_escalate("Incident is resolved")
    to = policy or incident.policy
    level = None if given is None else _level(given, to)
    detail = to.id if given is None else f"{to.id} level {given}"
    yield Update("escalate", lambda: account.escalate(incident.id, by, policy=to, level=level), detail)


def _words(account: Account, incident: Incident, asked: Json, by: User) -> Iterator[Update]:
    """Title, urgency and priority: also of a resolved incident."""
    title, urgency = asked.get("title", incident.title), asked.get("urgency", incident.urgency)
    priority = _priority(account, asked)
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
    account: Account, incident: Incident, asked: Json, status: IncidentStatus | None, by: User
) -> Iterator[Update]:
    """To another status. What has it already is refused with 1001 or 1002, or is no change: the account's habit.

    Acknowledged already is what this requester acknowledged; somebody else may acknowledge it, too.
    """
    repeated = account.habits.repeat
    if status is IncidentStatus.RESOLVED:
        note = _resolution(asked)
        if incident.is_open:
            yield Update("resolve", lambda: account.resolve(incident.id, by, note), note)
        elif repeated is Repeat.REFUSED:
            raise refusals.already_resolved()
    elif status is IncidentStatus.ACKNOWLEDGED:
        if by not in [user for user, _ in incident.acknowledged] or repeated is Repeat.RENEWED:
            act, again = (lambda: account.acknowledge(incident.id, by)), not incident.is_open
            yield Update("acknowledge", act, reopens=again)
        elif repeated is Repeat.REFUSED:
            raise refusals.already_acknowledged()
    elif status is IncidentStatus.TRIGGERED and incident.status is IncidentStatus.ACKNOWLEDGED:
        yield Update("unacknowledge", lambda: account.unacknowledge(incident.id, by))


def _status(asked: Json) -> IncidentStatus | None:
    given = asked.get("status")
    if given is None:
        return None
    try:
        return IncidentStatus(given)
    except ValueError:
        raise refusals.bad_status(given) from None


def _resolution(asked: Json) -> str | None:
    given = asked.get("resolution")
    if given is not None and not isinstance(given, str):
        raise refusals.invalid("Resolution must be a text")
    return given or None


def _assignees(account: Account, asked: Json) -> list[User]:
    """Whom to assign; none if it is not asked for."""
    given = asked.get("assignments")
    if given is None:
        return []
    if not isinstance(given, list) or not given:
        raise refusals.invalid("Assignments must name somebody")
    known = {user.id: user for user in account.directory.users}
    users = []
    for each in given:
        identity = _reference(each.get("assignee") if isinstance(each, dict) else None, "user")
        if identity not in known:
            raise refusals.no_such_assignee(f"User {identity} not found")
        users.append(known[identity])
    return users


def _policy(account: Account, asked: Json) -> Policy | None:
    if (given := asked.get("escalation_policy")) is None:
        return None
    identity = _reference(given, "escalation_policy")
    for policy in account.directory.policies:
        if policy.id == identity:
            if not any(policy.levels):
                raise refusals.nobody_on_call()
            return policy
    raise refusals.no_such_policy()


def _level(given: object, policy: Policy) -> int:
    """A level counted from 0; people count from 1."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise refusals.invalid("Escalation level must be a number")
    if not 1 <= given <= len(policy.levels):
        raise refusals.cannot_escalate(f"Escalation level {given} does not exist")
    if not policy.levels[given - 1]:
        raise refusals.nobody_on_call()
    return given - 1


def _priority(account: Account, asked: Json) -> Priority | None:
    """By its name or by reference."""
    if (given := asked.get("priority")) is None:
        return None
    for priority in account.directory.priorities:
        if given == priority.name or (isinstance(given, dict) and given.get("id") == priority.id):
            return priority
    raise refusals.invalid("Priority is invalid")


def _reference(given: object, kind: str) -> str:
    """The id of a reference. Raises RefusedError for what is none."""
    if (
        isinstance(given, dict)
        and isinstance(given.get("id"), str)
        and given.get("type") in (kind, f"{kind}_reference")
    ):
        return str(given["id"])
    raise refusals.invalid(f"A reference to a {kind} needs its id and its type")


def _ids(users: list[User]) -> str | None:
    return ",".join(user.id for user in users) or None
