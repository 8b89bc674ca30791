"""Templates: everything is escaped, a missing value is an error, and times are written the same everywhere."""

from __future__ import annotations

import functools
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import daemon
from daemon import text
from daemon.page import charts

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent
JUST_NOW = 1.0  # seconds
SECOND = 1000  # milliseconds


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> Environment:
    """Return the templates, each compiled when it is first used."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        at=at,
        ago=ago,
        span=text.span,
        number=number,
        pretty=pretty,
        printable=text.printable,
        printable_lines=text.printable_lines,
        iso=text.iso,
        percent=percent,
        milliseconds=milliseconds,
        words=words,
        event_words=event_words,
    )
    environment.globals.update(version=daemon.__version__, charts=charts)
    return environment


def at(moment: datetime | None) -> str:
    """Return a time as HTML, in UTC; the script shows it in the reader's zone with the UTC beside it."""
    if moment is None:
        return "–"
    utc = moment.astimezone(UTC)
    written_utc = f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    return Markup(f'<time datetime="{_machine(utc)}" data-at>{written_utc}</time>')  # noqa: S704 - only numbers


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a time is, or in how long it is to come, as HTML; the script keeps it true."""
    if moment is None:
        return "–"
    utc = moment.astimezone(UTC)
    title = f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    distance = _distance((now - moment).total_seconds())
    return Markup(f'<time datetime="{_machine(utc)}" title="{title}" data-ago>{distance}</time>')  # noqa: S704 - as above


def _distance(seconds: float) -> str:
    if abs(seconds) < JUST_NOW:
        return "now"
    return f"{text.span(seconds)} ago" if seconds > 0 else f"in {text.span(-seconds)}"


def _machine(utc: datetime) -> str:
    return text.iso(utc.replace(microsecond=utc.microsecond // 1000 * 1000))


def number(value: float) -> str:
    """Return a number with thousands separated."""
    return f"{value:,}"


def percent(part: float | None) -> str:
    """Return a part of a whole in percent; only all of it is 100 %."""
    if part is None:
        return "–"
    return "100 %" if part == 1 else f"{min(part * 100, 99.9):.1f} %"


def milliseconds(value: float | None) -> str:
    """Return a duration given in milliseconds."""
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < SECOND else f"{value / SECOND:.1f} s"


def event_words(name: str) -> str:
    """Return an event type in words: ``incident.field_values.updated`` is field values updated."""
    return re.sub(r"[._]", " ", name.removeprefix("incident."))


def words(name: str) -> str:
    """Return a name in words: ``AcknowledgeIncident`` is Acknowledge incident, ``service_key`` Service key."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()
    return spaced[:1].upper() + spaced[1:]


def pretty(value: object) -> str:
    """Return a value as indented JSON; text that holds JSON is indented, too, and other text returned as it is."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
