"""What concerns several sections, and from the file's sections to the project's own types."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from daemon import formats, model, triggers
from daemon.config.source import Place, Tree, dotted, hint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from daemon.config import fields

HOSTS = {
    "us": ("https://api.pagerduty.com", "https://events.pagerduty.com"),
    "eu": ("https://api.eu.pagerduty.com", "https://events.eu.pagerduty.com"),
}
CEILING = model.Limits()
LONGEST_TIMEOUT = timedelta(seconds=60)
LONGEST_OVERLAP = timedelta(hours=1)
LATER = "not available in this version (remove it)"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def problem(error: Any) -> str:  # noqa: ANN401, C901, PLR0911 - pydantic's dictionary; a table of its kinds
    """One of pydantic's errors in plain words, without the value."""
    context = error.get("ctx", {})
    match error["type"]:
        case "wrong":
            return str(context["what"])
        case "missing":
            return "is missing"
        case "literal_error":
            return f"must be one of {context['expected']}".replace("'", "").replace(" or ", ", ")
        case "int_type" | "int_parsing" | "int_from_float" | "float_type" | "float_parsing":
            return "must be a number"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "string_type":
            return "must be text (put it in quotes if it looks like a number)"
        case "list_type":
            return "must be a list, such as [ops]"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "model_type" | "dict_type" | "model_attributes_type":
            return "must be a section with keys of its own"
        case _:
            return "cannot be used"


def connections(file: fields.File, tree: Tree) -> dict[str, model.Connection]:
    """The connections; their limits may not be looser than the connector's, except on loopback."""
    made: dict[str, model.Connection] = {}
    if not file.connections:
        tree.mistake(("connections",), "there must be at least one")
    for name, given in file.connections.items():
        place: Place = ("connections", name)
        api_url, events_url = HOSTS[given.region]
        made[name] = model.Connection(
            name=name,
            api_key=given.api_key,
            api_url=given.api_url or api_url,
            events_url=given.events_url or events_url,
            limits=model.Limits(given.limits.calls, given.limits.period, given.limits.poll_interval),
            overlap=given.overlap,
            sweep_every=given.sweep_every,
            reconcile_every=given.reconcile_every,
        )
        if given.overlap > LONGEST_OVERLAP:
            tree.mistake((*place, "overlap"), "must be at most 1h (the sweep reads further back)")
        loopback = is_loopback(urlsplit(made[name].api_url).hostname or "")
        if not loopback:
            _check_ceilings(made[name].limits, (*place, "limits"), tree)
        if made[name].api_url.startswith("http:") and not loopback:
            tree.mistake((*place, "api_url"), "must begin with https:// (the key would be sent in the clear)")
    return made


def _check_ceilings(limits: model.Limits, place: Place, tree: Tree) -> None:
    """30 calls in 60 s, one poll in 30 s; tighter ones are welcome."""
    if limits.calls > CEILING.calls:
        tree.mistake((*place, "calls"), "must be at most 30 (looser limits are for loopback only)")
    if limits.period < CEILING.period:
        tree.mistake((*place, "period"), "must be at least 60s (looser limits are for loopback only)")
    if limits.poll_interval < CEILING.poll_interval:
        tree.mistake((*place, "poll_interval"), "must be at least 30s (looser limits are for loopback only)")


def targets(file: fields.File, tree: Tree) -> dict[str, model.Target]:
    """The targets."""
    made: dict[str, model.Target] = {}
    for name, given in file.targets.items():
        place: Place = ("targets", name)
        if given.format not in formats.REGISTRY:
            known = ", ".join(formats.REGISTRY)
            tree.mistake((*place, "format"), f"is none that this version has (known: {known})")
        for key in ("template", "content_mode", "batch"):
            if getattr(given, key) is not None:
                tree.mistake((*place, key), LATER)
        if given.timeout > LONGEST_TIMEOUT:
            tree.mistake((*place, "timeout"), "must be at most 60s")
        if given.retry.max < given.retry.first:
            tree.mistake((*place, "retry", "max"), "must not be shorter than first")
        if given.retry.horizon < given.retry.first:
            tree.mistake((*place, "retry", "horizon"), "must not be shorter than first")
        limit = given.rate_limit
        made[name] = model.Target(
            name=name,
            url=given.url,
            secrets=tuple(given.secret),
            format=given.format,
            headers=tuple(given.headers.items()),
            timeout=given.timeout,
            order=model.Order(given.order),
            concurrency=given.concurrency,
            rate_limit=None if limit is None else model.RateLimit(limit.calls, limit.period),
            retry=model.Retry(given.retry.first, given.retry.factor, given.retry.max, given.retry.horizon),
        )
    if file.egress.private == "deny":
        tree.mistake(("egress", "private"), "deny is not available in this version (use a firewall, and allow here)")
    if file.egress.allow:
        tree.mistake(("egress", "allow"), LATER)
    return made


def triggers_of(
    file: fields.File,
    tree: Tree,
    all_connections: dict[str, model.Connection],
    known_targets: Collection[str],
) -> dict[str, model.Trigger]:
    """The triggers; what they refer to must exist."""
    made: dict[str, model.Trigger] = {}
    for name, given in file.triggers.items():
        place: Place = ("triggers", name)
        kind = triggers.REGISTRY.get(given.on) or triggers.BY_OPERATION.get(given.on)
        if kind is None:
            _unknown(tree, (*place, "on"), "event type", given.on, [*triggers.REGISTRY, *triggers.BY_OPERATION])
        connection = _connection_of(given, tree, place, all_connections)
        _check_targets(given, tree, place, known_targets)
        if kind is None or connection is None:
            continue
        _check_filters(given, kind, tree, place)
        interval = connection.limits.poll_interval
        if given.every is not None and given.every < interval:
            tree.mistake((*place, "every"), f"must not be shorter than the connection's poll_interval ({interval})")
        made[name] = model.Trigger(
            name=name,
            on=kind.type,
            connection=connection.name,
            to=tuple(given.to),
            every=given.every or interval,
            user=given.user,
            incident=given.incident,
            where=model.Where(
                frozenset(given.where.services),
                frozenset(given.where.teams),
                frozenset(given.where.urgencies),
                frozenset(given.where.escalation_policies),
            ),
            start=given.start,
        )
    return made


def _check_targets(given: fields.Trigger, tree: Tree, place: Place, known_targets: Collection[str]) -> None:
    if not given.to:
        tree.mistake((*place, "to"), "must name at least one target")
    for number, target in enumerate(given.to):
        if target not in known_targets:
            _unknown(tree, (*place, "to", number), "target", target, known_targets)
        elif target in given.to[:number]:
            tree.mistake((*place, "to", number), "names a target twice (remove one)")


def _check_filters(given: fields.Trigger, kind: triggers.Kind, tree: Tree, place: Place) -> None:
    for key in ("user", "incident"):
        if getattr(given, key) is not None and key not in kind.filters:
            fitting = " and ".join(each.type for each in triggers.REGISTRY.values() if key in each.filters)
            tree.mistake((*place, key), f"goes only with {fitting}")
        elif getattr(given, key) == "":
            tree.mistake((*place, key), "must not be empty (leave it out for any)")


def _connection_of(
    given: fields.Trigger, tree: Tree, place: Place, known: dict[str, model.Connection]
) -> model.Connection | None:
    if given.connection is None:
        if len(known) == 1:
            return next(iter(known.values()))
        tree.mistake(place, "must name its connection, for there are several (add connection: name)")
        return None
    if given.connection not in known:
        _unknown(tree, (*place, "connection"), "connection", given.connection, known)
    return known.get(given.connection)


def _unknown(tree: Tree, place: Place, kind: str, value: str, known: Iterable[str]) -> None:
    shown = f'no {kind} "{value}"{hint(value, known)}' if tree.is_written(place) else f"there is no such {kind}"
    tree.mistake(place, shown)


def api(file: fields.File, tree: Tree) -> tuple[str, int] | None:
    """Where the HTTP server listens: loopback, or anywhere with a token."""
    if file.api.token is not None and not file.api.token.get_secret_value():
        tree.mistake(("api", "token"), "must not be empty (leave it out for none)")
    if file.api.listen is None:
        return None
    host, _, port = file.api.listen.rpartition(":")
    host = host.strip("[]")
    if not is_loopback(host) and file.api.token is None:
        tree.mistake(("api", "listen"), "an address other than loopback needs api.token")
    return host, int(port)


__all__ = ["api", "connections", "dotted", "is_loopback", "problem", "targets", "triggers_of"]
