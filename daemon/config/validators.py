"""What one value may be: each function answers what it makes of a value, or says what is wrong with it.

What concerns several values is ``check``'s business; what editors are told is in ``field_types``. No message
shows the value.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

from daemon.outbound import signing

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?")
LONGEST = timedelta(days=3660)
LAST_PORT = 65535
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
ADDRESS = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})"
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
OWN_HEADERS = frozenset(
    [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-pagerduty-signature",
        "x-webhook-id",
        "x-webhook-subscription",
    ]
)
OWN_PREFIXES = ("webhook-", "ce-")


def wrong(what: str) -> PydanticCustomError:
    """A mistake in one value, in our own words; what stands in braces would be filled in, so there are none."""
    return PydanticCustomError("wrong", "{what}", {"what": what})


def duration(value: Any) -> timedelta:  # noqa: ANN401 - whatever the file holds
    """``30s``, ``10m``, ``48h``, ``7d``, ``500ms``, or a number of seconds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    found = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        seconds = float(found.group(1)) * UNITS[found.group(2) or "s"]
    elif number:
        seconds = float(value)
    else:
        raise wrong("must be a duration such as 30s, 10m, 48h or 7d")
    if not 0 < seconds <= LONGEST.total_seconds():
        raise wrong("must be a duration longer than 0s and at most 3660d")
    return timedelta(seconds=seconds)


def written(span: timedelta) -> str:
    """A duration as people write it."""
    for unit in ("d", "h", "m"):
        count = span / timedelta(seconds=UNITS[unit])
        if count > 1 and count.is_integer():
            return f"{count:.0f}{unit}"
    return f"{span.total_seconds():f}".rstrip("0").rstrip(".") + "s"


def whole(value: Any) -> int:  # noqa: ANN401 - whatever the file holds
    """A whole number, also as text, as overrides have it."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,9}", value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise wrong("must be a whole number")


def number(value: Any) -> float:  # noqa: ANN401 - whatever the file holds
    """A number, also as text."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,9}(\.[0-9]{1,9})?", value.strip()):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise wrong("must be a number")


def name(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A section's entry's name."""
    if isinstance(value, str) and not re.fullmatch(NAME, value):
        raise wrong("a name begins with a letter or digit, and has only letters, digits and . _ - (63 at most)")
    return value


def identifier(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """PagerDuty's id of something; an empty text, or a name with spaces, is none."""
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise wrong("must be an id such as PSVC1, not a name (the id is in the address of its page in PagerDuty)")
    return value


def person(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A user, by id or e-mail address."""
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_-]+|[^\s@]+@[^\s@]+", value):
        raise wrong("must be a user's id or e-mail address (omit it for any user)")
    return value


def http_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """An absolute URL that an HTTP client can post to."""
    if not isinstance(value, str):
        raise wrong("must be a URL such as https://hooks.example.com/pagerduty")
    if re.search(r"[\x00-\x20\x7f]", value):
        raise wrong("must be a URL without spaces and control characters")
    parts = _split(value, "must be a URL (its host or port cannot be understood)")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise wrong("must be a URL that begins with https:// or http:// and has a host")
    if parts.username is not None or parts.password is not None:
        advice = "a target's go into auth: {basic: {username: …, password: …}}"
        raise wrong(f"must be a URL without user and password ({advice})")
    if parts.fragment:
        raise wrong("must be a URL without a #fragment, which would never be sent")
    return value


def base_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A host of PagerDuty's, or what stands in for it."""
    checked = http_url(value)
    if urlsplit(checked).query:
        raise wrong("must be a URL without a ?query")
    return checked.rstrip("/")


def proxy_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A proxy, perhaps with user and password."""
    advice = "must be http://host:port, or http://user:password@host:port (in the password, write / as %2F, @ as %40)"
    if not isinstance(value, str) or not re.fullmatch(r"http://[\x21-\x7e]+", value):
        raise wrong(advice)
    parts = _split(value, advice)
    if not parts.hostname or not parts.port or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise wrong(advice)
    return value.rstrip("/")


def path(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A file, wherever the daemon is started."""
    if not isinstance(value, str) or not re.fullmatch(r"/[^\x00-\x1f]+", value):
        raise wrong("must be a file's absolute path, such as /etc/pagerelay/ca.pem")
    return value


def credential(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A user, password or the like, of whatever letters."""
    if not isinstance(value, str) or not re.fullmatch(r"[^\x00-\x1f\x7f]+", value):
        raise wrong("must be one line of text, not empty (put it in quotes if it looks like a number)")
    return value


def user(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A user of basic authentication."""
    if ":" in str(credential(value)):
        raise wrong("must be a user without a colon (HTTP cannot tell it from the password)")
    return value


def bearer(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A bearer token of a target."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise wrong("must be a token: not empty, no spaces (only the token, without Bearer)")
    return value


def database_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """SQLite or PostgreSQL."""
    text = value if isinstance(value, str) else ""
    if text.startswith("sqlite:///") and len(text) > len("sqlite:///"):
        if ":memory:" in text:
            raise wrong("must be a file: what is in memory would be lost with the process")
        return value
    if re.match(r"postgres(ql)?://.", text):
        advice = "must be postgresql://user:password@host/name (in the password, write / as %2F, # as %23, ? as %3F)"
        if _split(text, advice).fragment:
            raise wrong(advice)
        return re.sub(r"^postgres(ql)?://", "postgresql://", text)
    raise wrong("must be sqlite:///file.db, sqlite:////absolute/file.db or postgresql://user:password@host/name")


def _split(text: str, advice: str) -> Any:  # noqa: ANN401 - the parts of a URL
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises if it is none
    except ValueError:
        raise wrong(advice) from None
    return parts


def api_key(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A key that fits into a header."""
    if isinstance(value, int | float):
        raise wrong("must be text (put the key in quotes)")
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise wrong("must be a PagerDuty API key: not empty, no spaces (only the key, without Token token=)")
    return value


def token(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A bearer token, or none."""
    if isinstance(value, int | float):
        raise wrong("must be text (put the token in quotes)")
    if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value)):
        raise wrong("must be a token: not empty, no spaces (create one: openssl rand -hex 32; null for none)")
    return value


def signing_secret(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A secret as Standard Webhooks writes it."""
    reason = signing.problem(value) if isinstance(value, str) else signing.ADVICE
    if reason is not None:
        raise wrong(reason)
    return value


def one_or_more(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """One secret, or a list of them."""
    if value == []:
        raise wrong("at least one secret is required")
    return value if isinstance(value, list) else [value]


def event_names(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """One name of an event, or a list of them."""
    if value == []:
        raise wrong("at least one event type is required")
    return value if isinstance(value, list) else [value]


def header_name(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A header that a target may set."""
    if not isinstance(value, str) or not HEADER.fullmatch(value):
        raise wrong("is not a name that an HTTP header can have (use letters, digits and hyphens)")
    if value.lower() in OWN_HEADERS or value.lower().startswith(OWN_PREFIXES):
        raise wrong("pagerelay sets this header itself (remove it)")
    return value


def header_value(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Text that fits into a header."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(r"[\x20-\x7e]*", text):
        raise wrong("must be text that fits into an HTTP header: one line of ASCII")
    return text


def address(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """``host:port``; null for no server at all."""
    if value is None:
        return None
    found = re.fullmatch(ADDRESS, value) if isinstance(value, str) else None
    if found is None or int(found.group(2)) > LAST_PORT:
        raise wrong("must be host:port such as 127.0.0.1:8421, or null for no HTTP server")
    return value


def instant(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A time with its offset."""
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else None
        if parsed is not None and parsed.tzinfo is not None:
            return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise wrong("must be a time with its offset, such as 2026-11-01T00:00:00Z")


def network(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A range of addresses."""
    try:
        ipaddress.ip_network(value)
    except (ValueError, TypeError):
        raise wrong("must be a network such as 10.0.0.0/8") from None
    return value
