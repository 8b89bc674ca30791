"""Times as people write and read them, foreign text and hints, the same everywhere."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from daemon.model import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

REPLACEMENT = "\ufffd"
MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
UNITS = {"ms": 0.001, "s": 1, "m": MINUTE, "h": HOUR, "d": DAY}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?")
LONGEST = timedelta(days=3660)
EXCERPT = 80  # characters of somebody's text that an error repeats
PART_OF_WORDS = 5  # characters from which a secret is masked inside words, too


def iso(moment: datetime) -> str:
    """Return an instant in UTC as ISO 8601 with ``Z``, such as ``2026-11-23T10:00:00Z``."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def span(seconds: float) -> str:
    """Return a duration in its largest unit."""
    if seconds < MINUTE:
        return f"{max(seconds, 0):.0f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR:.0f} h"
    return f"{seconds // DAY:.0f} d"


def seconds(value: str) -> float | None:
    """Return the seconds of a duration such as ``30s``, ``10m`` or ``7d``; a bare number is in seconds."""
    match = DURATION.fullmatch(value.strip())
    return None if match is None else float(match.group(1)) * UNITS[match.group(2) or "s"]


def instant(value: str, zone: tzinfo | None = None) -> datetime | None:
    """Return an instant in UTC. One without an offset is in this zone, or None without a zone."""
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None and zone is None:
            return None
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment(value: str, now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """Return the instant that people write as ``2h``, ``2h ago`` or ``2026-11-01T00:00:00Z``; None if it is neither."""
    ago = seconds(value.strip().removesuffix("ago"))
    if ago is None:
        return instant(value, zone)
    return now - timedelta(seconds=ago) if 0 < ago <= LONGEST.total_seconds() else None


def left(done: float, total: float, took: float) -> str:
    """Return how long the rest takes if it goes on as fast as ``done`` of ``total`` did, in ``took`` seconds."""
    if done <= 0:
        return "time left unknown"
    return f"about {span(took * max(total - done, 0) / done)} left"


def printable(text: str) -> str:
    """Return text that cannot control a terminal: each unprintable character becomes U+FFFD."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else REPLACEMENT for character in text)


def printable_lines(text: str) -> str:
    """Return ``printable`` text whose line breaks are kept."""
    return "\n".join(map(printable, text.splitlines()))


def mask(text: str, hidden: Iterable[str]) -> str:
    """Return the text without the secrets, which are sorted longest first.

    Short ones are masked only as whole words, and single characters not at all: the rest must remain readable.
    """
    for secret in hidden:
        if len(secret) >= PART_OF_WORDS:
            text = text.replace(secret, MASK)
        elif len(secret) > 1 and secret in text:
            text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", MASK, text)
    return text


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the only known name that contains a mistyped one, else the most similar one, whatever the case.

    Returns None if no name is similar.
    """
    lower = {name.lower(): name for name in known}
    containing = [name for key, name in lower.items() if wrong.lower() in key]
    if wrong and len(containing) == 1:
        return containing[0]
    similar = difflib.get_close_matches(wrong.lower(), lower, n=1)
    return lower[similar[0]] if similar else None


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return `` (did you mean "x"?)``, or nothing if no known name is similar."""
    name = nearest(wrong, known)
    return "" if name is None else f' (did you mean "{name}"?)'


def excerpt(text: str) -> str:
    """Return the beginning of somebody's text, safe to be shown on one line."""
    return printable(text[:EXCERPT])


def quoted(text: str) -> str:
    """Return the beginning of somebody's text in quotes, safe to be shown on one line."""
    return f'"{excerpt(text)}"'
