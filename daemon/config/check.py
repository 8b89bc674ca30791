"""What concerns several keys or sections, and from the file's sections to the project's own types.

What is wrong in itself is not here any more (``problems.sections`` left it out), but its name
still counts as known.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daemon import formats, model, settings, triggers
from daemon.config import target_access
from daemon.config.document import MOST_SHOWN, Place, Tree, listed, named, nearest
from daemon.config.validators import written
from daemon.outbound import signing

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.config import file_model

HOSTS = {
    "us": ("https://api.pagerduty.com", "https://events.pagerduty.com"),
    "eu": ("https://api.eu.pagerduty.com", "https://events.eu.pagerduty.com"),
}
CEILING = settings.Limits()
LONGEST_TIMEOUT = timedelta(seconds=60)
LONGEST_OVERLAP = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Known:
    """The names in the file, also of what cannot be used: whoever refers to it makes no mistake."""

    connections: tuple[str, ...]
    targets: tuple[str, ...]


def known(tree: Tree) -> Known:
    """The names in the file."""
    sections = (tree.value((key,)) for key in ("connections", "targets"))
    return Known(*(tuple(each) if isinstance(each, dict) else () for each in sections))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def connections(file: file_model.File, tree: Tree, names: Known) -> dict[str, settings.Connection]:
    """The connections; their limits may not be looser than the connector's, except on loopback."""
    if not names.connections:
        tree.mistake(("connections",), "at least one is required (see config.example.yaml)")
    return {name: _connection(name, given, tree) for name, given in file.connections.items()}


def _connection(name: str, given: file_model.ConnectionSection, tree: Tree) -> settings.Connection:
    place: Place = ("connections", name)
    api_url, events_url = HOSTS[given.region]
    if given.api_url and _on_loopback(given.api_url):
        api_url = events_url = given.api_url  # the simulator serves both, and nothing of it may reach PagerDuty
    made = settings.Connection(
        name=name,
        api_key=given.api_key,
        api_url=given.api_url or api_url,
        events_url=given.events_url or events_url,
        limits=settings.Limits(given.limits.calls, given.limits.period, given.limits.poll_interval),
        overlap=given.overlap,
        sweep_every=given.sweep_every,
        reconcile_every=given.reconcile_every,
        proxy=given.proxy,
    )
    target_access.check_proxy(given.proxy, tree, place)
    if given.overlap > LONGEST_OVERLAP:
        tree.mistake((*place, "overlap"), "must be at most 1h (the sweep reads further back)")
    for key, url in (("api_url", made.api_url), ("events_url", made.events_url)):
        if url.startswith("http:") and not _on_loopback(url):
            tree.mistake((*place, key), "must begin with https:// (over http:// the key could be read on the way)")
    if _on_loopback(made.api_url) and not _on_loopback(made.events_url):
        tree.mistake((*place, "events_url"), "must be a loopback address, since api_url is one")
    unclear = given.api_url is None and (*place, "api_url") in tree.blamed
    if not _on_loopback(made.api_url) and not unclear:
        _check_ceilings(made.limits, (*place, "limits"), tree)
    return made


def _on_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _check_ceilings(limits: settings.Limits, place: Place, tree: Tree) -> None:
    """30 calls in 60 s, one poll in 30 s; tighter ones are welcome."""
    reason = "(looser limits only where api_url is a loopback address)"
    if limits.calls > CEILING.calls:
        tree.mistake((*place, "calls"), f"must be at most {CEILING.calls} {reason}")
    if limits.period < CEILING.period:
        tree.mistake((*place, "period"), f"must be at least {written(CEILING.period)} {reason}")
    if limits.poll_interval < CEILING.poll_interval:
        tree.mistake((*place, "poll_interval"), f"must be at least {written(CEILING.poll_interval)} {reason}")


def targets(file: file_model.File, tree: Tree) -> dict[str, settings.Target]:
    """The targets, and which addresses they may have."""
    rules = target_access.egress(file, tree)
    return {name: _target(name, given, rules, tree) for name, given in file.targets.items()}


def _target(name: str, given: file_model.TargetSection, rules: settings.Egress, tree: Tree) -> settings.Target:
    place: Place = ("targets", name)
    _check_format(given, tree, place)
    if given.timeout > LONGEST_TIMEOUT:
        tree.mistake((*place, "timeout"), f"must be at most {written(LONGEST_TIMEOUT)}")
    for key, longer in (("max", given.retry.max), ("horizon", given.retry.horizon)):
        if longer < given.retry.first:
            tree.mistake((*place, "retry", key), f"must not be shorter than first ({written(given.retry.first)})")
    target_access.check_url(given.url, rules, tree, (*place, "url"))
    target_access.check_proxy(given.proxy, tree, place)
    limit = given.rate_limit
    return settings.Target(
        name=name,
        url=given.url,
        secrets=tuple(given.secret),
        format=given.format,
        options=settings.Options(given.template, given.content_mode, given.batch or False),
        headers=tuple(given.headers.items()),
        timeout=given.timeout,
        order=model.Order(given.order),
        concurrency=given.concurrency,
        rate_limit=None if limit is None else settings.RateLimit(limit.calls, limit.period),
        retry=settings.Retry(given.retry.first, given.retry.factor, given.retry.max, given.retry.horizon),
        auth=target_access.auth(given, rules, tree, place),
        tls=target_access.tls(given, tree, place),
        proxy=given.proxy,
        egress=rules,
    )


def _check_format(given: file_model.TargetSection, tree: Tree, place: Place) -> None:
    """The format must be known, and the options that are set must be its own."""
    if given.format not in formats.REGISTRY:
        _unknown(tree, (*place, "format"), "format", given.format, formats.REGISTRY)
        return
    if formats.REGISTRY[given.format].signs and not signing.shared([each.get_secret_value() for each in given.secret]):
        tree.mistake((*place, "secret"), f"needs a whsec_ secret, for format: {given.format} signs with it (add one)")
    for key in ("template", "content_mode", "batch"):
        if getattr(given, key) is not None and key not in formats.REGISTRY[given.format].options:
            fitting = " and ".join(name for name, each in formats.REGISTRY.items() if key in each.options)
            tree.mistake((*place, key), f"is only allowed with format: {fitting} (remove it)")
    if given.format == "template" and given.template is None and (*place, "template") not in tree.blamed:
        tree.mistake(place, "must have a template (for example template: ${file:/etc/pagerelay/chat.j2})")


def triggers_of(
    file: file_model.File, tree: Tree, names: Known, usable: dict[str, settings.Connection]
) -> dict[str, settings.Trigger]:
    """The triggers; what they refer to must exist."""
    made = {name: _trigger(name, given, tree, names, usable) for name, given in file.triggers.items()}
    return {name: trigger for name, trigger in made.items() if trigger is not None}


def _trigger(
    name: str, given: file_model.TriggerSection, tree: Tree, names: Known, usable: dict[str, settings.Connection]
) -> settings.Trigger | None:
    place: Place = ("triggers", name)
    on = _names_of_events(given.on, tree, (*place, "on"))
    connection = usable.get(_connection_of(given, tree, place, names) or "")
    if not given.to:
        tree.mistake((*place, "to"), "at least one target is required")
    check_targets(given.to, tree, (*place, "to"), names)
    _check_filters(given, on, tree, place)
    _check_condition(given.condition, on, tree, (*place, "if"))
    if not on or connection is None:
        return None
    interval = connection.limits.poll_interval
    if given.every is not None and given.every < interval:
        advice = f"must not be shorter than {written(interval)}, the poll_interval of its connection"
        tree.mistake((*place, "every"), advice)
    return settings.Trigger(
        name=name,
        on=on,
        connection=connection.name,
        to=tuple(given.to),
        every=given.every or interval,
        user=given.user,
        incident=given.incident,
        where=settings.Where(
            frozenset(given.where.services),
            frozenset(given.where.teams),
            frozenset(given.where.urgencies),
            frozenset(given.where.escalation_policies),
        ),
        condition=given.condition,
        start=given.start,
    )


def check_targets(given: list[str], tree: Tree, place: Place, names: Known) -> None:
    """Each must be a target of the file, and named once."""
    for number, target in enumerate(given):
        if target not in names.targets:
            _unknown(tree, (*place, number), "target", target, names.targets)
        elif target in given[:number]:
            tree.mistake((*place, number), "duplicate target (remove it)")


def _names_of_events(given: list[str], tree: Tree, place: Place) -> tuple[str, ...]:
    """By which names a trigger subscribes: each of them known, none of them twice, none of them part of another."""
    names = [triggers.BY_OPERATION[name].name if name in triggers.BY_OPERATION else name for name in given]
    for number, name in enumerate(names):
        where = (*place, number) if (*place, number) in tree.marks else place
        whole = triggers.SUBTYPES[name].subtype_of if name in triggers.SUBTYPES else None
        if name != triggers.EVERY and name not in triggers.BY_NAME:
            _unknown(
                tree, where, "event type", given[number], triggers.BY_NAME, [triggers.EVERY, *triggers.BY_OPERATION]
            )
        elif name in names[:number]:
            tree.mistake(where, "duplicate event type (remove it)")
        elif name == triggers.EVERY and len(names) > 1:
            tree.mistake(where, "means every event type (remove it, or the others)")
        elif whole in names:
            tree.mistake(where, f"is part of {whole}, which is also listed (remove one)")
    return tuple(name for name in names if name == triggers.EVERY or name in triggers.BY_NAME)


def _check_filters(given: file_model.TriggerSection, on: tuple[str, ...], tree: Tree, place: Place) -> None:
    """``user`` and ``incident`` go only where every event can have them."""
    for key in ("user", "incident"):
        if getattr(given, key) is not None and any(
            key not in triggers.BY_NAME[name].filters for name in triggers.expand(on)
        ):
            fitting = ", ".join(name for name, kind in triggers.BY_NAME.items() if key in kind.filters)
            tree.mistake((*place, key), f"is only allowed with on: {fitting} (remove it)")


def _check_condition(given: str | None, on: tuple[str, ...], tree: Tree, place: Place) -> None:
    if given is None:
        return
    from daemon.config import conditions  # noqa: PLC0415 - few files have one

    mistake = conditions.mistake(given, on, shown=tree.is_written(place))
    if mistake is not None:
        tree.mistake(place, mistake)


def _connection_of(given: file_model.TriggerSection, tree: Tree, place: Place, names: Known) -> str | None:
    """The name of a trigger's connection, if that is clear."""
    if given.connection is None:
        if len(names.connections) > 1:
            choice = " or ".join(named(name) for name in names.connections[:MOST_SHOWN])
            tree.mistake(place, f"connection is required because there are several (add connection: {choice})")
            return None
        return next(iter(names.connections), None)
    if given.connection not in names.connections:
        _unknown(tree, (*place, "connection"), "connection", given.connection, names.connections)
    return given.connection


def _unknown(
    tree: Tree, place: Place, kind: str, value: str, names: Collection[str], also: Collection[str] = ()
) -> None:
    """Say that there is no such thing, though ``names`` and ``also`` are.

    A value is shown only if it is like one of them and stands in the file: it is no secret in a wrong place then.
    """
    near = nearest(value, [*names, *also]) if tree.is_written(place) else None
    if near is not None:
        tree.mistake(place, f'unknown {kind} "{value}" (did you mean "{near}"?)')
    else:
        tree.mistake(place, f"unknown {kind}" + (listed(names) or f" (no {kind}s are configured)"))


def api(file: file_model.File, tree: Tree) -> tuple[str, int] | None:
    """Where the HTTP server listens: loopback, or anywhere with a token."""
    if file.api.listen is None:
        return None
    host, _, port = file.api.listen.rpartition(":")
    host = host.strip("[]")
    if not is_loopback(host) and file.api.token is None and ("api", "token") not in tree.blamed:
        tree.mistake(
            ("api", "listen"), "an address other than loopback needs a token (set api.token, or listen on 127.0.0.1)"
        )
    return host, int(port)
