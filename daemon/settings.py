"""The configuration as frozen values: checked, complete and independent of the file's syntax.

``daemon.config`` creates these values; every other module only reads them. Secrets are ``SecretStr``.
"""

from __future__ import annotations

import dataclasses
import enum
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from pydantic import SecretStr

from daemon.model import Order

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

HOSTS = {  # by region: of the REST API and of the Events API
    "us": ("https://api.pagerduty.com", "https://events.pagerduty.com"),
    "eu": ("https://api.eu.pagerduty.com", "https://events.eu.pagerduty.com"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """A connection's call budget: at most ``calls`` requests in any ``period``."""

    calls: int = 30
    period: timedelta = timedelta(seconds=60)
    poll_interval: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Connection:
    """One PagerDuty account: key or app (exactly one of ``api_key`` and ``oauth``), hosts, call budget."""

    name: str
    api_key: SecretStr | None
    api_url: str
    events_url: str
    limits: Limits = field(default_factory=Limits)
    overlap: timedelta = timedelta(minutes=5)
    sweep_every: timedelta = timedelta(minutes=15)
    reconcile_every: timedelta = timedelta(minutes=10)
    proxy: SecretStr | None = None
    oauth: OAuth2 | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``calls`` attempts in any ``period``, for one target."""

    calls: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Retry:
    """The schedule of retries: after ``first``, then each pause ``factor`` times longer, up to ``max``.

    A delivery that still fails after ``horizon`` is dead.
    """

    first: timedelta = timedelta(seconds=5)
    factor: float = 3.0
    max: timedelta = timedelta(hours=8)
    horizon: timedelta = timedelta(hours=76)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a target's format. Each format declares the ones that it supports."""

    template: str | None = None
    content_mode: str | None = None
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Egress:
    """The addresses that targets may have: ``private`` allows all private ones, else only those in ``allow``."""

    private: bool = True
    allow: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Basic:
    """A user and a password, sent with every request."""

    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token, sent with every request."""

    token: SecretStr


@dataclass(frozen=True, slots=True)
class OAuth2:
    """OAuth 2.0 client credentials, sent to ``token_url`` in a header or ``in_body``."""

    token_url: SecretStr
    client_id: str
    client_secret: SecretStr
    scope: str | None = None
    audience: str | None = None
    in_body: bool = False


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate authorities to trust besides the system's, and a client certificate with its key, all in PEM."""

    ca: str | None = None
    identity: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook receiver. ``egress`` has the rules of the whole configuration.

    ``success`` is a JMESPath expression that a 2xx answer must meet to count as one.
    """

    name: str
    url: SecretStr
    secrets: tuple[SecretStr, ...]
    format: str = "standard"
    options: Options = field(default_factory=Options)
    headers: tuple[tuple[str, SecretStr], ...] = ()
    timeout: timedelta = timedelta(seconds=15)
    order: Order = Order.PER_INCIDENT
    concurrency: int = 8
    rate_limit: RateLimit | None = None
    retry: Retry = field(default_factory=Retry)
    auth: Basic | Bearer | OAuth2 | None = None
    tls: Tls | None = None
    proxy: SecretStr | None = None
    success: str | None = None
    traceparent: bool = False
    egress: Egress = field(default_factory=Egress)


@dataclass(frozen=True, slots=True)
class Where:
    """A filter on the incident; an empty field means any."""

    services: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()
    urgencies: frozenset[str] = frozenset()
    escalation_policies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Trigger:
    """A configured subscription. ``user`` is a PagerDuty id or an e-mail address.

    ``on`` has names of ``daemon.triggers``. ``condition`` is a JMESPath expression that messages must match in
    addition to the other filters.
    """

    name: str
    on: tuple[str, ...]
    connection: str
    to: tuple[str, ...]
    every: timedelta = timedelta(seconds=30)
    user: str | None = None
    incident: str | None = None
    where: Where = field(default_factory=Where)
    condition: str | None = None
    start: datetime | None = None


@dataclass(frozen=True, slots=True)
class RetentionPeriods:
    """The retention period of each kind of row."""

    events: timedelta = timedelta(days=30)
    deliveries: timedelta = timedelta(days=7)
    dead: timedelta = timedelta(days=30)
    actions: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The database, and the retention of its rows."""

    url: SecretStr
    retention: RetentionPeriods = field(default_factory=RetentionPeriods)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The format of log lines (auto, console or json), and the lowest level that is written."""

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Traces:
    """Spans are exported. ``variables`` are OpenTelemetry's own, which say where to and how."""

    variables: tuple[tuple[str, SecretStr], ...] = ()


class Access(enum.StrEnum):
    """The access that a token gives."""

    FULL = "full"
    READ = "read"


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The address of the HTTP server, and its tokens.

    ``token`` allows everything, ``read_token`` only what changes nothing. ``page`` is whether the page for people is
    served. ``root_path`` is the path prefix that a reverse proxy adds, such as ``/pagerelay``.
    ``hosts`` are the names that requests may be for, besides those of the machine itself; None: any.
    """

    host: str
    port: int
    token: SecretStr | None
    read_token: SecretStr | None = None
    page: bool = True
    root_path: str = ""
    hosts: tuple[str, ...] | None = None

    @property
    def has_page(self) -> bool:
        """Return whether people can sign in to a page."""
        return self.page and self.token is not None

    def access_of(self, token: str) -> Access | None:
        """Return what somebody with this token may do; None: nothing."""
        for access, secret in ((Access.FULL, self.token), (Access.READ, self.read_token)):
            if secret is not None and hmac.compare_digest(token.encode(), secret.get_secret_value().encode()):
                return access
        return None


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, from the file ``source`` and variables in ``env_file``.

    ``api`` is None if there is no HTTP server, ``traces`` if no traces are exported. ``actions_notify`` names the
    targets that receive the result of every action, ``alerts_to`` those that receive an alert about whatever fails for
    longer than ``alerts_after``.
    """

    source: Path
    env_file: Path | None
    database: DatabaseSettings
    log: LogSettings
    api: ApiSettings | None
    connections: Mapping[str, Connection]
    targets: Mapping[str, Target]
    triggers: Mapping[str, Trigger]
    actions_notify: tuple[str, ...]
    alerts_to: tuple[str, ...]
    alerts_after: timedelta
    traces: Traces | None = None

    @property
    def files(self) -> str:
        """Return the names of the files that it was loaded from."""
        return f"{self.source}{f' with {self.env_file}' if self.env_file is not None else ''}"


def fingerprint(settings: Settings) -> str:
    """Return a hash of what a daemon does, wherever it runs and from whatever files its configuration was loaded.

    The addresses of the database and of the API do not count, since they depend on from where one looks, and neither
    does where traces go, since each replica may name itself there.

    The hash is public, so it has a key: the connections with their API keys. Without those nobody can use it to try
    guesses of a short secret, such as a password.
    """
    database = dataclasses.replace(settings.database, url=SecretStr(""))
    api = None if settings.api is None else dataclasses.replace(settings.api, host="", port=0)
    values = dataclasses.replace(settings, source=Path(), env_file=None, database=database, api=api, traces=None)
    return hmac.new(_serialized(settings.connections), _serialized(values), "sha256").hexdigest()


def _serialized(value: object) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS)


def _plain(value: object) -> object:
    """Return what orjson cannot serialize as something that it can, the same for equal values."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case timedelta():
            return value.total_seconds()
        case frozenset():
            return sorted(value)
        case Mapping():
            return dict(value)
        case _:
            return str(value)
