"""Changes that people make in an account on demand: the verbs, and their parameters."""

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

Options: TypeAlias = dict[str, Any]


class UnknownError(LookupError):
    """An unknown name: its kind, the name, and the known names."""

    def __init__(self, what: str, name: object, known: Iterable[str]) -> None:
        super().__init__(f"unknown {what}: {name}")
        self.known = list(known)


@dataclass(frozen=True, slots=True)
class Control:
    """A change of an incident, with the names of its parameters besides ``incident`` and ``by``."""

    act: Callable[[Account, str, User, Options], object]
    takes: tuple[str, ...] = ()


def apply(account: Account, options: Options) -> str:
    """Make a change; return the incident's id. Raises UnknownError, NoSuchIncidentError, or ValueError."""
    arguments = options.copy()
    name = arguments.pop("do", None)
    if name == "trigger":
        _only(name, arguments, TRIGGER)
        return _trigger(account, arguments)
    verb = VERBS.get(name)
    if verb is None:
        raise UnknownError("do", name, ["trigger", *VERBS])
    _only(str(name), arguments, ("incident", "by", *verb.takes))
    incident = _incident(account, arguments.get("incident"))
    verb.act(account, incident.id, user(account, arguments.get("by", account.directory.users[0].id)), arguments)
    return incident.id


def user(account: Account, name: str) -> User:
    """Return a user of the account. Raises UnknownError."""
    try:
        return account.directory.user(name)
    except KeyError:
        raise UnknownError("user", name, (person.email for person in account.directory.users)) from None


def _only(verb: str, arguments: Options, takes: tuple[str, ...]) -> None:
    for name in arguments:
        if name not in takes:
            message = f"{verb} does not take {name}, only {', '.join(takes)}"
            raise ValueError(message)


def _trigger(account: Account, arguments: Options) -> str:
    service = _service(account, arguments["service"]) if "service" in arguments else None
    title, urgency = arguments.get("title", TITLES[0]), arguments.get("urgency", "high")
    return account.trigger(title, service=service, urgency=urgency, key=arguments.get("key")).id


def _incident(account: Account, incident_id: str | None, *, but: str | None = None) -> Incident:
    """Return the named incident, or else the newest open one."""
    if incident_id is not None:
        return account.incident(incident_id)
    for incident in reversed(account.incidents.values()):
        if incident.is_open and incident.id != but:
            return incident
    raise NoSuchIncidentError("there is none")


def _service(account: Account, name: str) -> Service:
    for service in account.directory.services:
        if name in {service.id, service.name}:
            return service
    raise UnknownError("service", name, (service.name for service in account.directory.services))


def _priority(account: Account, name: str) -> Priority:
    for priority in account.directory.priorities:
        if name in {priority.id, priority.name}:
            return priority
    raise UnknownError("priority", name, (priority.name for priority in account.directory.priorities))


def _people(account: Account, arguments: Options) -> list[User]:
    """Return the users that ``to`` names, one or several; by default the second user."""
    to = arguments.get("to", account.directory.users[1].id)
    return [user(account, name) for name in ([to] if isinstance(to, str) else to)]


def _merge(account: Account, incident: str, by: User, arguments: Options) -> None:
    account.merge(incident, _incident(account, arguments.get("into"), but=incident).id, by)


def _change(name: str) -> Callable[[Account, str, User, Options], None]:
    """Return the action of an event type's verb. It replaces the names of priorities, services and users by objects."""

    def act(account: Account, incident: str, by: User, arguments: Options) -> None:
        options = {key: value for key, value in arguments.items() if key not in {"incident", "by"}}
        if "priority" in options:
            options["priority"] = records.priority(_priority(account, options["priority"]))
        if "service" in options:
            options["service"] = records.service_reference(_service(account, options["service"]))
        if "responder" in options:
            options["responder"] = records.user_reference(user(account, options["responder"]))
        account.change(incident, by, name, **options)

    return act


TRIGGER = ("title", "urgency", "key", "service")
VERBS: dict[str, Control] = {
    "retrigger": Control(lambda account, incident, _by, _arguments: account.retrigger(incident)),
    "acknowledge": Control(lambda account, incident, by, _arguments: account.acknowledge(incident, by)),
    "unacknowledge": Control(lambda account, incident, _by, _arguments: account.unacknowledge(incident)),
    "resolve": Control(
        lambda account, incident, by, arguments: account.resolve(incident, by, arguments.get("note")), ("note",)
    ),
    "reopen": Control(lambda account, incident, by, _arguments: account.reopen(incident, by)),
    "annotate": Control(
        lambda account, incident, by, arguments: account.annotate(incident, by, arguments.get("note") or "…"), ("note",)
    ),
    "reassign": Control(
        lambda account, incident, by, arguments: account.reassign(incident, by, _people(account, arguments)), ("to",)
    ),
    "delegate": Control(
        lambda account, incident, by, arguments: account.delegate(incident, by, _people(account, arguments)), ("to",)
    ),
    "escalate": Control(lambda account, incident, by, _arguments: account.escalate(incident, by)),
    "merge": Control(_merge, ("into",)),
} | {name: Control(_change(name), tuple(verb.parameters)) for name, (verb, _) in triggers.VERBS.items()}
