"""Checks across keys and sections, and the conversion of the file's sections to ``daemon.settings``.

Entries that are invalid by themselves were removed before (``mistakes.sections``); their names still count as known.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from daemon import formats, model, settings, triggers
from daemon.config import target_access
from daemon.config.document import MOST_SHOWN, Place, Tree, listed, nearest, printable_key
from daemon.config.validators import format_duration
from daemon.outbound import signing

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.config import file_model, target_sections

TOKEN_URL = "https://identity.pagerduty.com/oauth/token"  # noqa: S105 - an address; the same in every region
CEILING = settings.Limits()
LONGEST_TIMEOUT = timedelta(seconds=60)
LONGEST_OVERLAP = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Names:
    """The names in the file, including those of invalid entries: a reference to one is not another mistake."""

    connections: tuple[str, ...]
    targets: tuple[str, ...]


def names_in(tree: Tree) -> Names:
    """Return the names in the file."""
    sections = (tree.value((key,)) for key in ("connections", "targets"))
    return Names(*(tuple(each) if isinstance(each, dict) else () for each in sections))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def connections(file: file_model.File, tree: Tree, names: Names) -> dict[str, settings.Connection]:
    """Return the connections. Except on loopback, their limits must not be looser than the connector's."""
    if not names.connections:
        tree.mistake(("connections",), "at least one is required (see config.example.yaml)")
    return {name: _connection(name, section, tree) for name, section in file.connections.items()}


def _connection(name: str, section: file_model.ConnectionSection, tree: Tree) -> settings.Connection:
    place: Place = ("connections", name)
    api_url, events_url = settings.HOSTS[section.region]
    if section.api_url and _on_loopback(section.api_url):
        api_url = events_url = section.api_url  # the simulator serves both; its events must not reach PagerDuty
    connection = settings.Connection(
        name=name,
        api_key=section.api_key,
        oauth=_app(section, tree, place),
        api_url=section.api_url or api_url,
        events_url=section.events_url or events_url,
        limits=settings.Limits(section.limits.calls, section.limits.period, section.limits.poll_interval),
        overlap=section.overlap,
        sweep_every=section.sweep_every,
        reconcile_every=section.reconcile_every,
        proxy=section.proxy,
    )
    target_access.check_proxy(section.proxy, tree, place)
    if section.overlap > LONGEST_OVERLAP:
        tree.mistake((*place, "overlap"), "must be at most 1h (the sweep reads further back)")
    for key, url in (("api_url", connection.api_url), ("events_url", connection.events_url)):
        if url.startswith("http:") and not _on_loopback(url):
            tree.mistake((*place, key), "must begin with https:// (over http:// the key could be read on the way)")
    if _on_loopback(connection.api_url) and not _on_loopback(connection.events_url):
        tree.mistake((*place, "events_url"), "must be a loopback address, since api_url is one")
    api_url_is_invalid = section.api_url is None and (*place, "api_url") in tree.blamed
    if not _on_loopback(connection.api_url) and not api_url_is_invalid:
        _check_ceilings(connection.limits, (*place, "limits"), tree)
    return connection


def _app(section: file_model.ConnectionSection, tree: Tree, place: Place) -> settings.OAuth2 | None:
    """Return the app that a connection uses instead of a key. Exactly one of the two must be set."""
    blamed = any((*place, name) in tree.blamed for name in ("api_key", "oauth"))
    if (section.api_key is None) == (section.oauth is None) and not blamed:
        if section.oauth is None:
            example = "(for example api_key: ${PAGERDUTY_API_KEY})"
            tree.mistake((*place, "api_key"), f"is required, or oauth for an app {example}")
        else:
            tree.mistake((*place, "oauth"), "cannot be combined with api_key (remove one of them)")
    if (app := section.oauth) is None:
        return None
    on_loopback = section.api_url is not None and _on_loopback(section.api_url)
    url = app.token_url or (f"{section.api_url}/oauth/token" if on_loopback else TOKEN_URL)
    where = (*place, "oauth")
    if url.startswith("http:") and not _on_loopback(url):
        tree.mistake(
            (*where, "token_url"), "must begin with https:// (over http:// the secret could be read on the way)"
        )
    if on_loopback and not _on_loopback(url):
        tree.mistake((*where, "token_url"), "must be a loopback address, since api_url is one")
    if "incidents.read" not in app.scopes:
        tree.mistake((*where, "scopes"), "must include incidents.read, which is required to read events")
    scope = " ".join((f"as_account-{section.region}.{app.subdomain}", *dict.fromkeys(app.scopes)))
    return settings.OAuth2(SecretStr(url), app.client_id, app.client_secret, scope, in_body=True)


def _on_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _check_ceilings(limits: settings.Limits, place: Place, tree: Tree) -> None:
    """Check that the limits are not looser than ``CEILING``."""
    reason = "(higher limits are only allowed if api_url is a loopback address)"
    if limits.calls > CEILING.calls:
        tree.mistake((*place, "calls"), f"must be at most {CEILING.calls} {reason}")
    if limits.period < CEILING.period:
        tree.mistake((*place, "period"), f"must be at least {format_duration(CEILING.period)} {reason}")
    if limits.poll_interval < CEILING.poll_interval:
        tree.mistake((*place, "poll_interval"), f"must be at least {format_duration(CEILING.poll_interval)} {reason}")


def targets(file: file_model.File, tree: Tree) -> dict[str, settings.Target]:
    """Return the targets."""
    rules = target_access.egress(file, tree)
    return {name: _target(name, section, rules, tree) for name, section in file.targets.items()}


def _target(name: str, section: target_sections.TargetSection, rules: settings.Egress, tree: Tree) -> settings.Target:
    place: Place = ("targets", name)
    _check_format(section, tree, place)
    if section.timeout > LONGEST_TIMEOUT:
        tree.mistake((*place, "timeout"), f"must be at most {format_duration(LONGEST_TIMEOUT)}")
    for key, longer in (("max", section.retry.max), ("horizon", section.retry.horizon)):
        if longer < section.retry.first:
            tree.mistake(
                (*place, "retry", key), f"must not be shorter than first ({format_duration(section.retry.first)})"
            )
    target_access.check_url(section.url, rules, tree, (*place, "url"))
    target_access.check_proxy(section.proxy, tree, place)
    limit = section.rate_limit
    return settings.Target(
        name=name,
        url=section.url,
        secrets=tuple(section.secret),
        format=section.format,
        options=settings.Options(section.template, section.content_mode, section.batch or False),
        headers=tuple(section.headers.items()),
        timeout=section.timeout,
        order=model.Order(section.order),
        concurrency=section.concurrency,
        rate_limit=None if limit is None else settings.RateLimit(limit.calls, limit.period),
        retry=settings.Retry(section.retry.first, section.retry.factor, section.retry.max, section.retry.horizon),
        auth=target_access.auth(section, rules, tree, place),
        tls=target_access.tls(section, tree, place),
        proxy=section.proxy,
        success=_success(section.success, tree, (*place, "success")),
        traceparent=section.traceparent,
        egress=rules,
    )


def _success(expression: str | None, tree: Tree, place: Place) -> str | None:
    if expression is None:
        return None
    from daemon.config import conditions  # noqa: PLC0415 - few files have a condition

    mistake = conditions.mistake_in_success(expression, shown=tree.is_written(place))
    if mistake is not None:
        tree.mistake(place, mistake)
    return expression


def _check_format(section: target_sections.TargetSection, tree: Tree, place: Place) -> None:
    """Check that the format is known and supports every option that is set."""
    if section.format not in formats.REGISTRY:
        _unknown(tree, (*place, "format"), "format", section.format, formats.REGISTRY)
        return
    if formats.REGISTRY[section.format].signs and not signing.shared(
        [each.get_secret_value() for each in section.secret]
    ):
        tree.mistake((*place, "secret"), f"needs a whsec_ secret, for format: {section.format} signs with it (add one)")
    for key in ("template", "content_mode", "batch"):
        if getattr(section, key) is not None and key not in formats.REGISTRY[section.format].options:
            supporting = " and ".join(name for name, each in formats.REGISTRY.items() if key in each.options)
            tree.mistake((*place, key), f"is only allowed with format: {supporting} (remove it)")
    if section.format == "template" and section.template is None and (*place, "template") not in tree.blamed:
        tree.mistake(place, "must have a template (for example template: ${file:/etc/pagerelay/chat.j2})")


def triggers_of(
    file: file_model.File, tree: Tree, names: Names, usable: dict[str, settings.Connection]
) -> dict[str, settings.Trigger]:
    """Return the valid triggers. The names that they refer to must exist."""
    valid = {name: _trigger(name, section, tree, names, usable) for name, section in file.triggers.items()}
    return {name: trigger for name, trigger in valid.items() if trigger is not None}


def _trigger(
    name: str, section: file_model.TriggerSection, tree: Tree, names: Names, usable: dict[str, settings.Connection]
) -> settings.Trigger | None:
    place: Place = ("triggers", name)
    on = _names_of_events(section.on, tree, (*place, "on"))
    connection = usable.get(_connection_of(section, tree, place, names) or "")
    if not section.to:
        tree.mistake((*place, "to"), "at least one target is required")
    check_targets(section.to, tree, (*place, "to"), names)
    _check_filters(section, on, tree, place)
    _check_condition(section.condition, on, tree, (*place, "if"))
    if not on or connection is None:
        return None
    interval = connection.limits.poll_interval
    if section.every is not None and section.every < interval:
        advice = f"must not be shorter than {format_duration(interval)}, the poll_interval of its connection"
        tree.mistake((*place, "every"), advice)
    return settings.Trigger(
        name=name,
        on=on,
        connection=connection.name,
        to=tuple(section.to),
        every=section.every or interval,
        user=section.user,
        incident=section.incident,
        where=settings.Where(
            frozenset(section.where.services),
            frozenset(section.where.teams),
            frozenset(section.where.urgencies),
            frozenset(section.where.escalation_policies),
        ),
        condition=section.condition,
        start=section.start,
    )


def check_targets(target_names: list[str], tree: Tree, place: Place, names: Names) -> None:
    """Check that each name is a target of the file and occurs once."""
    for number, target in enumerate(target_names):
        if target not in names.targets:
            _unknown(tree, (*place, number), "target", target, names.targets)
        elif target in target_names[:number]:
            tree.mistake((*place, number), "duplicate target (remove it)")


def _names_of_events(event_types: list[str], tree: Tree, place: Place) -> tuple[str, ...]:
    """Return a trigger's valid event types. None may be unknown, a duplicate or a subtype of another."""
    names = [triggers.BY_OPERATION[name].name if name in triggers.BY_OPERATION else name for name in event_types]
    for number, name in enumerate(names):
        where = (*place, number) if (*place, number) in tree.marks else place
        whole = triggers.SUBTYPES[name].subtype_of if name in triggers.SUBTYPES else None
        if name != triggers.EVERY and name not in triggers.BY_NAME:
            _unknown(
                tree,
                where,
                "event type",
                event_types[number],
                triggers.BY_NAME,
                [triggers.EVERY, *triggers.BY_OPERATION],
            )
        elif name in names[:number]:
            tree.mistake(where, "duplicate event type (remove it)")
        elif name == triggers.EVERY and len(names) > 1:
            tree.mistake(where, "means every event type (remove it, or the others)")
        elif whole in names:
            tree.mistake(where, f"is part of {whole}, which is also listed (remove one)")
    return tuple(name for name in names if name == triggers.EVERY or name in triggers.BY_NAME)


def _check_filters(section: file_model.TriggerSection, on: tuple[str, ...], tree: Tree, place: Place) -> None:
    """Check that every event type of the trigger supports the filters ``user`` and ``incident``, if set."""
    for key in ("user", "incident"):
        if getattr(section, key) is not None and any(
            key not in triggers.BY_NAME[name].filters for name in triggers.expand(on)
        ):
            supporting = ", ".join(name for name, kind in triggers.BY_NAME.items() if key in kind.filters)
            tree.mistake((*place, key), f"is only allowed with on: {supporting} (remove it)")


def _check_condition(expression: str | None, on: tuple[str, ...], tree: Tree, place: Place) -> None:
    if expression is None:
        return
    from daemon.config import conditions  # noqa: PLC0415 - few files have a condition

    mistake = conditions.mistake(expression, on, shown=tree.is_written(place))
    if mistake is not None:
        tree.mistake(place, mistake)


def _connection_of(section: file_model.TriggerSection, tree: Tree, place: Place, names: Names) -> str | None:
    """Return the name of a trigger's connection, or None if it is ambiguous or missing."""
    if section.connection is None:
        if len(names.connections) > 1:
            choice = " or ".join(printable_key(name) for name in names.connections[:MOST_SHOWN])
            tree.mistake(place, f"connection is required because there are several (add connection: {choice})")
            return None
        return next(iter(names.connections), None)
    if section.connection not in names.connections:
        _unknown(tree, (*place, "connection"), "connection", section.connection, names.connections)
    return section.connection


def _unknown(
    tree: Tree, place: Place, kind: str, value: str, names: Collection[str], also: Collection[str] = ()
) -> None:
    """Report an unknown name. ``names`` are the known ones; one of ``also`` may be suggested too.

    The value is shown only if it is literally in the file and similar to a known name, hence not a misplaced secret.
    """
    near = nearest(value, [*names, *also]) if tree.is_written(place) else None
    if near is not None:
        tree.mistake(place, f'unknown {kind} "{value}" (did you mean "{near}"?)')
    else:
        tree.mistake(place, f"unknown {kind}" + (listed(names) or f" (no {kind}s are configured)"))


def api(file: file_model.File, tree: Tree) -> settings.ApiSettings | None:
    """Return the settings of the HTTP server, or None without one. Beyond loopback, a token is required."""
    section = file.api
    if section.read_token is not None and ("api", "token") not in tree.blamed:
        if section.token is None:
            tree.mistake(("api", "read_token"), "requires api.token (set it as well)")
        elif section.read_token == section.token:
            tree.mistake(("api", "read_token"), "must differ from api.token, which has full access")
    if section.listen is None:
        return None
    host, _, port = section.listen.rpartition(":")
    host = host.strip("[]")
    if not is_loopback(host) and section.token is None and ("api", "token") not in tree.blamed:
        tree.mistake(
            ("api", "listen"), "an address other than loopback needs a token (set api.token, or listen on 127.0.0.1)"
        )
    hosts: tuple[str, ...] | None = () if is_loopback(host) else None
    if section.hosts is not None:
        hosts = tuple(section.hosts)
    return settings.ApiSettings(
        host, int(port), section.token, section.read_token, section.page, section.root_path or "", hosts
    )
