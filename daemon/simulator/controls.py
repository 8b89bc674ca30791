"""What people let happen in an account on demand: the verbs, and what each of them takes besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from daemon import triggers
from daemon.simulator import records
from daemon.simulator.account import NoSuchIncidentError
from daemon.simulator.lifecycles import TITLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemon.simulator.account import Account
    from daemon.simulator.directory import Priority, Service, User
    from daemon.simulator.incident import Incident

Asked: TypeAlias = dict[str, Any]


class UnknownError(LookupError):
    """A name that stands for nothing here: what it should be, the name, and those that there are."""

    def __init__(self, what: str, name: object, known: Iterable[str]) -> None:
        super().__init__(f"unknown {what}: {name}")
        self.known = list(known)


@dataclass(frozen=True, slots=True)
class Control:
    """What happens to an incident, and the parameters that it has besides ``incident`` and ``by``."""

    act: Callable[[Account, str, User, Asked], object]
    takes: tuple[str, ...] = ()


def let(account: Account, asked: Asked) -> str:
    """Let it happen; the incident's id. Raises UnknownError, NoSuchIncidentError, or ValueError for a parameter."""
    given = asked.copy()
    name = given.pop("do", None)
    if name == "trigger":
        _only(name, given, TRIGGER)
        return _trigger(account, given)
    verb = VERBS.get(name)
    if verb is None:
        raise UnknownError("do", name, ["trigger", *VERBS])
    _only(str(name), given, ("incident", "by", *verb.takes))
    incident = _incident(account, given.get("incident"))
    verb.act(account, incident.id, user(account, given.get("by", account.directory.users[0].id)), given)
    return incident.id


def user(account: Account, name: str) -> User:
    """Somebody of the account. Raises UnknownError."""
    try:
        return account.directory.user(name)
    except KeyError:
        raise UnknownError("user", name, (each.email for each in account.directory.users)) from None


def _only(verb: str, given: Asked, takes: tuple[str, ...]) -> None:
    for name in given:
        if name not in takes:
            message = f"{verb} does not take {name}, only {', '.join(takes)}"
            raise ValueError(message)


def _trigger(account: Account, given: Asked) -> str:
    service = _service(account, given["service"]) if "service" in given else None
    title, urgency = given.get("title", TITLES[0]), given.get("urgency", "high")
    return account.trigger(title, service=service, urgency=urgency, key=given.get("key")).id


def _incident(account: Account, wanted: str | None, *, but: str | None = None) -> Incident:
    """The one that is named, else the newest that is open."""
    if wanted is not None:
        return account.incident(wanted)
    for incident in reversed(account.incidents.values()):
        if incident.is_open and incident.id != but:
            return incident
    raise NoSuchIncidentError("there is none")


def _service(account: Account, name: str) -> Service:
    for each in account.directory.services:
        if name in {each.id, each.name}:
            return each
    raise UnknownError("service", name, (each.name for each in account.directory.services))


def _priority(account: Account, name: str) -> Priority:
    for each in account.directory.priorities:
        if name in {each.id, each.name}:
            return each
    raise UnknownError("priority", name, (each.name for each in account.directory.priorities))


def _people(account: Account, given: Asked) -> list[User]:
    """Whom ``to`` names: one or several, else the second user."""
    to = given.get("to", account.directory.users[1].id)
    return [user(account, each) for each in ([to] if isinstance(to, str) else to)]


def _merge(account: Account, incident: str, by: User, given: Asked) -> None:
    account.merge(incident, _incident(account, given.get("into"), but=incident).id, by)


def _change(name: str) -> Callable[[Account, str, User, Asked], None]:
    """Return what a verb of an event type does: its options, with directory entries instead of their names."""

    def act(account: Account, incident: str, by: User, given: Asked) -> None:
        options = {key: value for key, value in given.items() if key not in {"incident", "by"}}
        if "priority" in options:
            options["priority"] = records.priority(_priority(account, options["priority"]))
        if "service" in options:
            options["service"] = records.service_reference(_service(account, options["service"]))
        account.change(incident, by, name, **options)

    return act


TRIGGER = ("title", "urgency", "key", "service")
VERBS: dict[str, Control] = {
    "retrigger": Control(lambda account, incident, _by, _given: account.retrigger(incident)),
    "acknowledge": Control(lambda account, incident, by, _given: account.acknowledge(incident, by)),
    "unacknowledge": Control(lambda account, incident, _by, _given: account.unacknowledge(incident)),
    "resolve": Control(
        lambda account, incident, by, given: account.resolve(incident, by, given.get("note")), ("note",)
    ),
    "reopen": Control(lambda account, incident, by, _given: account.reopen(incident, by)),
    "annotate": Control(
        lambda account, incident, by, given: account.annotate(incident, by, given.get("note") or "…"), ("note",)
    ),
    "reassign": Control(
        lambda account, incident, by, given: account.reassign(incident, by, _people(account, given)), ("to",)
    ),
    "delegate": Control(
        lambda account, incident, by, given: account.delegate(incident, by, _people(account, given)), ("to",)
    ),
    "escalate": Control(lambda account, incident, by, _given: account.escalate(incident, by)),
    "merge": Control(_merge, ("into",)),
} | {name: Control(_change(name), tuple(verb.parameters)) for name, (verb, _) in triggers.VERBS.items()}
