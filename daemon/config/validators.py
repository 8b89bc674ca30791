"""Validators of single values: each returns the converted value or raises ``wrong``. No message contains the value.

Checks across values are in ``check``, the JSON Schema of each type in ``field_types``.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

from daemon import text
from daemon.outbound import signing

LAST_PORT = 65535
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
ADDRESS = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})"
ROOT_PATH = "(/[A-Za-z0-9._~-]+)+"
SUBDOMAIN = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
SCOPE = r"[a-z_]+(:[a-z_]+)?\.(read|write)"  # of PagerDuty's REST API
HOST_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"
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
QUOTES = ("'", '"')
OWN_PREFIXES = ("webhook-", "ce-")


def wrong(what: str) -> PydanticCustomError:
    """Return the error for an invalid value. Passing ``what`` as an argument keeps its braces as they are."""
    return PydanticCustomError("wrong", "{what}", {"what": what})


def is_quoted(value: str) -> bool:
    """Return whether a value begins and ends with the same quotation mark."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES


def _must_not_be_quoted(value: str) -> None:
    """Raise if a secret that has no quotes in it is in quotes: an env file for Docker keeps them."""
    if is_quoted(value):
        raise wrong("has quotes around it that belong to the value (in an env file for Docker or systemd, remove them)")


def duration(value: Any) -> timedelta:  # noqa: ANN401 - whatever the file holds
    """Return a duration such as ``30s``, ``10m``, ``48h``, ``7d`` or ``500ms``; a bare number is in seconds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    seconds = float(value) if number else text.seconds(value) if isinstance(value, str) else None
    if seconds is None:
        raise wrong("must be a duration such as 30s, 10m, 48h or 7d")
    if not 0 < seconds <= text.LONGEST.total_seconds():
        raise wrong("must be a duration longer than 0s and at most 3660d")
    return timedelta(seconds=seconds)


def format_duration(span: timedelta) -> str:
    """Return a duration as it is written in the file, in the largest unit that fits."""
    for unit in ("d", "h", "m"):
        count = span / timedelta(seconds=text.UNITS[unit])
        if count > 1 and count.is_integer():
            return f"{count:.0f}{unit}"
    return f"{span.total_seconds():f}".rstrip("0").rstrip(".") + "s"


def whole(value: Any) -> int:  # noqa: ANN401 - whatever the file holds
    """Return a whole number. Overrides have it as text."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,9}", value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise wrong("must be a whole number")


def number(value: Any) -> float:  # noqa: ANN401 - whatever the file holds
    """Return a number. Overrides have it as text."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,9}(\.[0-9]{1,9})?", value.strip()):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise wrong("must be a number")


def name(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the name of an entry."""
    if isinstance(value, str) and not re.fullmatch(NAME, value):
        raise wrong("a name must begin with a letter or digit, and contain only letters, digits and . _ - (at most 63)")
    return value


def identifier(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return an id of PagerDuty's."""
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise wrong("must be an id such as PSVC1, not a name (the id is in the address of its page in PagerDuty)")
    return value


def person(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a user's id or e-mail address."""
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_-]+|[^\s@]+@[^\s@]+", value):
        raise wrong("must be a user's id or e-mail address (omit it for any user)")
    return value


def http_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return an absolute HTTP URL."""
    if not isinstance(value, str):
        raise wrong("must be a URL such as https://hooks.example.com/pagerduty")
    _must_not_be_quoted(value)
    if re.search(r"[\x00-\x20\x7f]", value):
        raise wrong("must be a URL without spaces and control characters")
    parts = _split(value, "must be a URL (its host or port is invalid)")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise wrong("must be a URL that begins with https:// or http:// and has a host")
    if parts.username is not None or parts.password is not None:
        advice = "a target's go into auth: {basic: {username: …, password: …}}"
        raise wrong(f"must be a URL without user and password ({advice})")
    if parts.fragment:
        raise wrong("must be a URL without a #fragment, which would never be sent")
    return value


def base_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the base URL of an API, without a slash at its end."""
    checked = http_url(value)
    if urlsplit(checked).query:
        raise wrong("must be a URL without a ?query")
    return checked.rstrip("/")


def proxy_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the URL of a proxy, which may contain user and password."""
    advice = "must be http://host:port, or http://user:password@host:port (in the password, write / as %2F, @ as %40)"
    if not isinstance(value, str) or not re.fullmatch(r"http://[\x21-\x7e]+", value):
        raise wrong(advice)
    parts = _split(value, advice)
    if not parts.hostname or not parts.port or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise wrong(advice)
    return value.rstrip("/")


def path(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the absolute path of a file."""
    if not isinstance(value, str) or not re.fullmatch(r"/[^\x00-\x1f]+", value):
        raise wrong("must be a file's absolute path, such as /etc/pagerelay/ca.pem")
    return value


def credential(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a user name, password or similar in any characters, on one line."""
    if not isinstance(value, str) or not re.fullmatch(r"[^\x00-\x1f\x7f]+", value):
        raise wrong("must be one line of text, not empty (put it in quotes if it looks like a number)")
    return value


def user(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a user name for basic authentication."""
    if ":" in str(credential(value)):
        raise wrong("must be a user without a colon (in HTTP the colon separates user and password)")
    return value


def bearer(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a target's bearer token."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise wrong("must be a token: not empty, no spaces (only the token, without Bearer)")
    _must_not_be_quoted(value)
    return value


def database_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the URL of a SQLite or PostgreSQL database."""
    text = value if isinstance(value, str) else ""
    _must_not_be_quoted(text)
    if text.startswith("sqlite:///") and len(text) > len("sqlite:///"):
        if ":memory:" in text:
            raise wrong("must be a file (data in memory would be lost with the process)")
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
        parts.port  # noqa: B018 - raises if the port is invalid
    except ValueError:
        raise wrong(advice) from None
    return parts


def api_key(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a PagerDuty API key."""
    if isinstance(value, int | float):
        raise wrong("must be text (put the key in quotes)")
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise wrong("must be a PagerDuty API key: not empty, no spaces (only the key, without Token token=)")
    _must_not_be_quoted(value)
    return value


def subdomain(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    """Return the subdomain of a PagerDuty account."""
    if not isinstance(value, str) or not re.fullmatch(SUBDOMAIN, value):
        raise wrong("must be the part of the account's address before .pagerduty.com, such as acme")
    return value.lower()


def scope(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    """Return a scope of PagerDuty's REST API."""
    if not isinstance(value, str) or not re.fullmatch(SCOPE, value):
        raise wrong("must be a scope of PagerDuty's REST API, such as incidents.read")
    return value


def token(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the API's bearer token, or None."""
    if isinstance(value, int | float):
        raise wrong("must be text (put the token in quotes)")
    if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value)):
        raise wrong("must be a token: not empty, no spaces (create one: openssl rand -hex 32; null for none)")
    _must_not_be_quoted(value or "")
    return value


def signing_secret(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a secret in the form of Standard Webhooks."""
    if not isinstance(value, str):
        raise wrong(signing.ADVICE)
    _must_not_be_quoted(value)
    if (reason := signing.problem(value)) is not None:
        raise wrong(reason)
    return value


def one_or_more(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a list of secrets, also for a single one."""
    if value == []:
        raise wrong("at least one secret is required")
    return value if isinstance(value, list) else [value]


def event_names(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a list of event types, also for a single one."""
    if value == []:
        raise wrong("at least one event type is required")
    return value if isinstance(value, list) else [value]


def header_name(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the name of a header that a target may set."""
    if not isinstance(value, str) or not HEADER.fullmatch(value):
        raise wrong("invalid header name (use letters, digits and hyphens)")
    if value.lower() in OWN_HEADERS or value.lower().startswith(OWN_PREFIXES):
        raise wrong("pagerelay sets this header itself (remove it)")
    return value


def header_value(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a value for a header. A number arrives here as the text that is in the file."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]*", value):
        raise wrong("must be text that fits into an HTTP header: one line of ASCII")
    return value


def address(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return ``host:port``, or None for no server."""
    if value is None:
        return None
    match = re.fullmatch(ADDRESS, value) if isinstance(value, str) else None
    if match is None or int(match.group(2)) > LAST_PORT:
        raise wrong("must be host:port such as 127.0.0.1:8421, or null for no HTTP server")
    return value


def root_path(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the path prefix that a reverse proxy adds, or nothing."""
    if not isinstance(value, str) or not re.fullmatch(ROOT_PATH, value):
        raise wrong("must be a path without a slash at its end, such as /pagerelay")
    return value


def instant(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return an instant in UTC."""
    parsed = text.instant(value) if isinstance(value, str) else None
    if parsed is None:
        raise wrong("must be a time with its offset, such as 2026-11-01T00:00:00Z")
    return parsed


def host_name(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a name under which people reach the server, without scheme and port."""
    if not isinstance(value, str) or not re.fullmatch(HOST_NAME, value):
        raise wrong("must be a host name such as pagerelay.example.com, without scheme, port and path")
    return value


def network(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a network such as ``10.0.0.0/8``."""
    try:
        ipaddress.ip_network(value)
    except (ValueError, TypeError):
        raise wrong("must be a network such as 10.0.0.0/8") from None
    return value
