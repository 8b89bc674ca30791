"""Whether a trigger's ``if`` makes sense: it is tried on a sample of each event that the trigger is for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from daemon import condition, errors, triggers
from daemon.config.tree import hint, named
from daemon.formats import samples, standard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.model import Json

QUOTED = " (in double quotes it is a key; texts go in 'single quotes')"
IN_DATA = ("assignees", "note", "changes")  # what only some events have


def mistake(expression: str, on: Iterable[str], *, shown: bool) -> str | None:
    """What is wrong with it, and the remedy; None if nothing is. ``shown``: whether a key of it may be shown."""
    try:
        asked = condition.Condition(expression)
    except errors.ConditionError as error:
        return f"must be a JMESPath expression: {error}"
    documents = [_sample(name) for name in triggers.single(on)]
    for document in documents[:1]:
        if unknown := _unknown(asked, document):
            key, whose, remedy = unknown
            which = f"the key {named(key)}, which" if shown else "a key that"
            quoted = f'"{key}"' in expression
            return f"names {which} {whose}{QUOTED if quoted else remedy}"
    for document in documents:
        try:
            asked.holds(document)
        except errors.ConditionError as error:
            return f"fails for {document['type']}: {error} (ask first whether it is there: a && length(a))"
    return None


def _sample(name: str) -> Json:
    return standard.document(replace(samples.event(triggers.KINDS[name].type), type=name))


def _unknown(asked: condition.Condition, document: Json) -> tuple[str, str, str] | None:
    """A key that no message has, who lacks it, the remedy: of the first two levels, for the rest is PagerDuty's."""
    data = {*document["data"], *IN_DATA}
    for path in sorted(asked.named()):
        if path[0] not in document:
            if path[0] in data:
                return path[0], "lies in data", f" (write data.{path[0]})"
            return path[0], "messages do not have", hint(path[0], document)
        if path[0] == "data" and len(path) > 1 and path[1] not in data:
            return path[1], "data does not have", hint(path[1], data)
    return None
