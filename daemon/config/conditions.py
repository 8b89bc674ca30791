"""The checks of conditions: a trigger's ``if`` on a sample of each of its event types, a target's ``success``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from daemon import errors, triggers
from daemon.config.document import hint, printable_key
from daemon.fan_out import condition
from daemon.formats import samples, standard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from daemon.model import Json

QUOTED = " (in double quotes it is a key; texts go in 'single quotes')"
ANSWER = ("body", "status")
IN_DATA = ("assignees", "note", "changes")  # keys in data that only some event types have


def mistake(expression: str, on: Iterable[str], *, shown: bool) -> str | None:
    """Return the mistake in an expression with its remedy, or None. ``shown``: keys of it may be shown."""
    try:
        compiled = condition.Condition(expression)
    except errors.ConditionError as error:
        return f"must be a JMESPath expression: {error}"
    documents = [_sample(name) for name in triggers.expand(on)]
    if not documents:
        return None
    for key, what in _unknown(compiled, documents):
        return f"names the key {printable_key(key)}, which {what}" if shown else f"names a key that {what}"
    for document in documents:
        try:
            compiled.holds(document)
        except errors.ConditionError as error:
            return f"fails for {document['type']}: {error} (check first that it is there: a && length(a))"
    return None


def mistake_in_success(expression: str, *, shown: bool) -> str | None:
    """Return the mistake in a target's ``success`` with its remedy, or None. ``shown``: keys of it may be shown."""
    try:
        compiled = condition.Condition(expression)
    except errors.ConditionError as error:
        return f"must be a JMESPath expression: {error}"
    for path in sorted(compiled.keys()):
        if path[0] not in ANSWER:
            near = printable_key(path[0]) if shown else "a key"
            return f"names {near}, which an answer does not have (known: {', '.join(ANSWER)}; for example body.ok)"
    return None


def _sample(name: str) -> Json:
    return standard.document(replace(samples.event(triggers.BY_NAME[name].event_type), type=name))


def _unknown(compiled: condition.Condition, documents: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Yield each unknown key and what is wrong with it.

    Keys are checked on the first two levels, because the deeper ones are PagerDuty's; keys in double quotes on every
    level, because no key of PagerDuty's needs quotes.
    """
    known = {*IN_DATA, *_keys(documents)}
    for key in sorted(compiled.quoted_keys()):
        if key not in known:
            yield key, f"messages do not have{QUOTED}"
    document = documents[0]
    data = {*document["data"], *IN_DATA}
    for path in sorted(compiled.keys()):
        if path[0] not in document:
            if path[0] in data:
                yield path[0], f"is in data (write data.{path[0]})"
            else:
                yield path[0], f"messages do not have{hint(path[0], document)}"
        elif path[0] == "data" and len(path) > 1 and path[1] not in data:
            yield path[1], f"data does not have{hint(path[1], data)}"


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(each)
