"""The file's sections and keys, their types and defaults. The JSON Schema is made from these.

Validators here judge one value each; what concerns several sections is ``check``'s business.
Their messages never show the value.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
LONGEST = timedelta(days=3660)
SECRET_BYTES = range(24, 65)
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
    ]
)
LAST_PORT = 65535


def wrong(what: str) -> PydanticCustomError:
    """A mistake in one value, in our own words; what stands in braces would be filled in, so there are none."""
    return PydanticCustomError("wrong", "{what}", {"what": what})


def duration(value: Any) -> timedelta:  # noqa: ANN401 - whatever the file holds
    """``30s``, ``10m``, ``48h``, ``7d``, ``500ms``, or a number of seconds."""
    found = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        seconds = float(found.group(1)) * UNITS[found.group(2)]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            raise wrong("must be a duration such as 30s, 10m, 48h or 7d") from None
    if not 0 < seconds <= LONGEST.total_seconds():
        raise wrong("must be a duration longer than nothing and at most 3660d")
    return timedelta(seconds=seconds)


def name(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A section's entry's name."""
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        raise wrong("a name must be of letters, digits, dots, hyphens and underscores, 63 at most")
    return value


def http_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """An absolute URL that an HTTP client can post to."""
    if not isinstance(value, str):
        raise wrong("must be a URL such as https://hooks.example.com/pagerduty")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises if it is none
    except ValueError:
        raise wrong("must be a URL; its host or port is none") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise wrong("must be a URL that begins with http:// or https:// and has a host")
    if parts.username is not None or parts.password is not None:
        raise wrong("must hold no user and password (use headers)")
    if parts.fragment:
        raise wrong("must hold no #fragment: it would never be sent")
    if any(character <= " " or character == "\x7f" for character in value):
        raise wrong("must hold no spaces or control characters")
    return value


def base_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A host of PagerDuty's, or what stands in for it."""
    checked = http_url(value)
    if urlsplit(checked).query:
        raise wrong("must hold no ?query")
    return checked.rstrip("/")


def database_url(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """SQLite or PostgreSQL."""
    text = value if isinstance(value, str) else ""
    if text.startswith("sqlite:///") and len(text) > len("sqlite:///") and ":memory:" not in text:
        return value
    if re.match(r"postgres(ql)?://.", text):
        try:
            urlsplit(text).port  # noqa: B018 - raises if it is none
        except ValueError:
            raise wrong("must be a URL; its host or port is none") from None
        return re.sub(r"^postgres(ql)?://", "postgresql://", text)
    raise wrong("must be sqlite:///file.db, sqlite:////absolute/file.db or postgresql://user:password@host/name")


def api_key(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A key that fits into a header."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise wrong("must be a PagerDuty API key: text without spaces, not empty")
    return value


def signing_secret(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A secret as Standard Webhooks writes it."""
    advice = "must be whsec_ and the base64 of 24 to 64 random bytes (make one: echo whsec_$(openssl rand -base64 32))"
    if not isinstance(value, str) or not value.startswith("whsec_"):
        raise wrong(advice)
    try:
        key = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise wrong(advice) from None
    if len(key) not in SECRET_BYTES:
        raise wrong(advice)
    return value


def secrets(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """One secret, or a list of them."""
    found = value if isinstance(value, list) else [value]
    if not found:
        raise wrong("must name at least one secret")
    return [signing_secret(each) for each in found]


def header_name(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A header that a target may set."""
    if not isinstance(value, str) or not HEADER.fullmatch(value):
        raise wrong("is no name of an HTTP header")
    if value.lower() in OWN_HEADERS or value.lower().startswith("webhook-"):
        raise wrong("is a header that pagerelay sets itself (remove it)")
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
    found = (
        re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", value) if isinstance(value, str) else None
    )
    if found is None or int(found.group(2)) > LAST_PORT:
        raise wrong("must be host:port such as 127.0.0.1:8421, or null for no HTTP server")
    return value


def instant(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A time with its offset."""
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise wrong("must be a time with its offset, such as 2026-11-01T00:00:00Z")
    return parsed.astimezone(UTC)


def network(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A range of addresses."""
    try:
        ipaddress.ip_network(value)
    except (ValueError, TypeError):
        raise wrong("must be a network such as 10.0.0.0/8") from None
    return value


_DURATION = {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"}, {"type": "number"}]}
_TEXT = {"type": "string"}

Duration = Annotated[timedelta, BeforeValidator(duration), WithJsonSchema(_DURATION)]
Name = Annotated[str, BeforeValidator(name), WithJsonSchema(_TEXT)]
Url = Annotated[SecretStr, BeforeValidator(http_url), WithJsonSchema(_TEXT)]
BaseUrl = Annotated[str, BeforeValidator(base_url), WithJsonSchema(_TEXT)]
DatabaseUrl = Annotated[SecretStr, BeforeValidator(database_url), WithJsonSchema(_TEXT)]
ApiKey = Annotated[SecretStr, BeforeValidator(api_key), WithJsonSchema(_TEXT)]
Secrets = Annotated[
    list[SecretStr],
    BeforeValidator(secrets),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}),
]
HeaderName = Annotated[str, BeforeValidator(header_name), WithJsonSchema(_TEXT)]
HeaderValue = Annotated[SecretStr, BeforeValidator(header_value), WithJsonSchema(_TEXT)]
Address = Annotated[str | None, BeforeValidator(address), WithJsonSchema({"type": ["string", "null"]})]
Instant = Annotated[datetime, BeforeValidator(instant), WithJsonSchema({"type": "string", "format": "date-time"})]
Network = Annotated[str, BeforeValidator(network), WithJsonSchema(_TEXT)]


class Section(BaseModel):
    """A part of the file: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class Retention(Section):
    """How long things are kept."""

    events: Duration = timedelta(days=30)
    """Events in the journal, and snapshots of resolved incidents."""
    deliveries: Duration = timedelta(days=7)
    """Deliveries that were delivered, with their attempts."""
    dead: Duration = timedelta(days=30)
    """Deliveries that are dead, with their attempts."""
    actions: Duration = timedelta(days=30)
    """Actions that ended. This version carries out no actions yet."""


class Database(Section):
    """Where everything is stored."""

    url: DatabaseUrl = SecretStr("sqlite:///pagerelay.db")
    """sqlite:///file (relative), sqlite:////file (absolute) or postgresql://user:password@host/name."""
    retention: Retention = Field(default_factory=Retention)


class Log(Section):
    """What is logged, and how."""

    format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written."""


class Api(Section):
    """The HTTP server."""

    listen: Address = "127.0.0.1:8421"
    """host:port; null for no HTTP server."""
    token: Annotated[SecretStr | None, WithJsonSchema({"type": ["string", "null"]})] = None
    """The bearer token that /v1 asks for; without one, /v1 answers 403."""


class Limits(Section):
    """The call budget of a connection."""

    calls: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Calls to PagerDuty in any period."""
    period: Duration = timedelta(seconds=60)
    """How long the period is."""
    poll_interval: Duration = timedelta(seconds=30)
    """The shortest time between two polls."""


class Connection(Section):
    """One PagerDuty account."""

    api_key: ApiKey
    """A REST API key; a read-only one is enough to relay events."""
    region: Literal["us", "eu"] = "us"
    """Where the account lives; a key of the other region is refused by PagerDuty."""
    api_url: BaseUrl | None = None
    """Another host for the REST API than the region's."""
    events_url: BaseUrl | None = None
    """Another host for the Events API than the region's."""
    limits: Limits = Field(default_factory=Limits)
    overlap: Duration = timedelta(minutes=5)
    """How far each poll reads back."""
    sweep_every: Duration = timedelta(minutes=15)
    """How often the last two hours are read again, for late log entries."""
    reconcile_every: Duration = timedelta(minutes=10)
    """How often snapshots are compared with the open incidents."""


class RateLimit(Section):
    """The attempts that a target takes."""

    calls: Annotated[int, Field(ge=1)]
    """Attempts in any period."""
    period: Duration
    """How long the period is."""


class Retry(Section):
    """When a failed delivery is tried again."""

    first: Duration = timedelta(seconds=5)
    """The pause after the first attempt."""
    factor: Annotated[float, Field(ge=1, le=100)] = 3.0
    """How much longer each further pause is."""
    max: Duration = timedelta(hours=8)
    """The longest pause."""
    horizon: Duration = timedelta(hours=76)
    """After this time a delivery is dead."""


class Target(Section):
    """A webhook receiver."""

    url: Url
    """Where messages are posted."""
    secret: Secrets
    """What messages are signed with; a list while rotating, the newest first."""
    format: str = "standard"
    """The payload's format."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Headers to send besides."""
    timeout: Duration = timedelta(seconds=15)
    """The longest that an attempt may take, its answer included."""
    order: Literal["per-incident", "none"] = "per-incident"
    """Whether messages of one incident are sent one after the other."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """Attempts at the same time."""
    rate_limit: RateLimit | None = None
    """The most attempts in a period; none: as many as there are."""
    retry: Retry = Field(default_factory=Retry)
    template: str | None = None
    """Not available in this version."""
    content_mode: str | None = None
    """Not available in this version."""
    batch: bool | None = None
    """Not available in this version."""


class Egress(Section):
    """Which addresses targets may have."""

    private: Literal["allow", "deny"] = "allow"
    """Private and loopback addresses. deny is not available in this version."""
    allow: list[Network] = Field(default_factory=list)
    """Not available in this version."""


class Where(Section):
    """What an incident must look like; what is left out, or empty, means any."""

    services: list[str] = Field(default_factory=list)
    """Ids of services."""
    teams: list[str] = Field(default_factory=list)
    """Ids of teams."""
    urgencies: list[Literal["high", "low"]] = Field(default_factory=list)
    """high, low."""
    escalation_policies: list[str] = Field(default_factory=list)
    """Ids of escalation policies."""


class Trigger(Section):
    """A subscription: which events go to which targets."""

    on: str
    """The event type, or the connector's operation id."""
    connection: str | None = None
    """The connection; may be left out where there is only one."""
    to: list[str]
    """The targets."""
    every: Duration | None = None
    """How often it runs; by default the connection's poll_interval."""
    user: str | None = None
    """Only assignments to this user: id or e-mail address. With incident.assigned."""
    incident: str | None = None
    """Only notes of this incident. With incident.annotated."""
    where: Where = Field(default_factory=Where)
    start: Instant | None = None
    """A new trigger begins with events since then, as far as the journal goes back."""


class File(BaseSettings):
    """The configuration of pagerelay."""

    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    database: Database = Field(default_factory=Database)
    log: Log = Field(default_factory=Log)
    api: Api = Field(default_factory=Api)
    connections: dict[Name, Connection]
    targets: dict[Name, Target] = Field(default_factory=dict)
    egress: Egress = Field(default_factory=Egress)
    triggers: dict[Name, Trigger] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``source`` read: it knows where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
