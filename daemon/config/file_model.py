"""The file's sections and keys, with their defaults and meanings. The JSON Schema is generated from them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon import formats
from daemon.config.field_types import (
    NUMBER,
    WHOLE,
    Address,
    ApiKey,
    BaseUrl,
    BearerToken,
    Credential,
    DatabaseUrl,
    Duration,
    EventNames,
    Expression,
    HeaderName,
    HeaderValue,
    HostName,
    Identifier,
    Instant,
    Name,
    Network,
    Password,
    Path,
    Person,
    ProxyUrl,
    RootPath,
    Scope,
    Secrets,
    Subdomain,
    Token,
    Url,
    User,
)


class Section(BaseModel):
    """A part of the file. Unknown keys are mistakes."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        defer_build=True,  # only the whole file is validated; its parts need no validators of their own
    )


class RetentionSection(Section):
    """Retention: how long rows are kept."""

    events: Duration = timedelta(days=30)
    """Events in the journal, and snapshots of resolved incidents."""
    deliveries: Duration = timedelta(days=7)
    """Delivered deliveries, with their attempts."""
    dead: Duration = timedelta(days=30)
    """Dead deliveries, with their attempts."""
    actions: Duration = timedelta(days=30)
    """Finished actions and replays."""


class DatabaseSection(Section):
    """The database that stores everything."""

    url: DatabaseUrl = SecretStr("sqlite:///pagerelay.db")
    """sqlite:///file (relative), sqlite:////file (absolute) or postgresql://user:password@host/name."""
    retention: RetentionSection = Field(default_factory=RetentionSection)


class LogSection(Section):
    """The log."""

    format: Literal["auto", "console", "json"] = "auto"
    """The format of log lines; auto: console on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is written."""


class ApiSection(Section):
    """The HTTP server."""

    listen: Address = "127.0.0.1:8421"
    """The address of the HTTP server, host:port; null disables the server."""
    token: Token = None
    """The token for /v1 and the page; without one, /v1 responds with 403 and there is no page."""
    read_token: Token = None
    """A second token, which may read everything and change nothing."""
    page: bool = True
    """Whether the web page is served at the root."""
    root_path: RootPath | None = None
    """The path prefix under which a reverse proxy serves pagerelay, such as /pagerelay."""
    hosts: Annotated[list[HostName], Field(min_length=1)] | None = None
    """Host names that requests may use. By default any, or only loopback names if api.listen is a loopback address."""


class LimitsSection(Section):
    """The call budget of a connection."""

    calls: Annotated[int, Field(ge=1, le=100_000), WHOLE] = 30
    """The maximum number of calls to PagerDuty in any period."""
    period: Duration = timedelta(seconds=60)
    """How long the period is."""
    poll_interval: Duration = timedelta(seconds=30)
    """The shortest interval between two polls."""


class AppSection(Section):
    """A PagerDuty app with Scoped OAuth. Its access tokens are renewed before they expire."""

    client_id: Credential = Field(examples=["${PAGERDUTY_CLIENT_ID}"])
    """The app's client id."""
    client_secret: Password = Field(examples=["${PAGERDUTY_CLIENT_SECRET}"])
    """The app's client secret."""
    subdomain: Subdomain = Field(examples=["acme"])
    """The account: the part of its address before .pagerduty.com."""
    scopes: Annotated[list[Scope], Field(min_length=1, examples=[["incidents.read", "users.read"]])]
    """The scopes to request; incidents.read at least."""
    token_url: BaseUrl | None = None
    """The token endpoint, if it is not PagerDuty's."""


class ConnectionSection(Section):
    """One PagerDuty account."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["api_key"]}, {"required": ["oauth"]}]})

    api_key: ApiKey | None = Field(None, examples=["${PAGERDUTY_API_KEY}"])
    """A REST API key. A read-only key is enough for events; actions require full access. An app uses oauth instead."""
    oauth: AppSection | None = None
    """An app with Scoped OAuth, instead of api_key."""
    region: Literal["us", "eu"] = "us"
    """The account's service region. PagerDuty rejects a key of the other region."""
    api_url: BaseUrl | None = None
    """The REST API's host, if it is not the region's."""
    events_url: BaseUrl | None = None
    """The Events API's host, if it is not the region's."""
    limits: LimitsSection = Field(default_factory=LimitsSection)
    overlap: Duration = timedelta(minutes=5)
    """How far each poll reads back."""
    sweep_every: Duration = timedelta(minutes=15)
    """How often the last two hours are read again, for late log entries."""
    reconcile_every: Duration = timedelta(minutes=10)
    """How often snapshots are compared with the open incidents."""
    proxy: ProxyUrl | None = None
    """The HTTP proxy for calls to PagerDuty."""


class RateLimitSection(Section):
    """A limit on a target's attempts."""

    calls: Annotated[int, Field(ge=1, examples=[100]), WHOLE]
    """The maximum number of attempts in any period."""
    period: Duration = Field(examples=["60s"])
    """How long the period is."""


class RetrySection(Section):
    """The schedule of retries after a failed attempt."""

    first: Duration = timedelta(seconds=5)
    """The pause after the first failed attempt."""
    factor: Annotated[float, Field(ge=1, le=100), NUMBER] = 3.0
    """The factor by which the pause grows with each further failure."""
    max: Duration = timedelta(hours=8)
    """The longest pause."""
    horizon: Duration = timedelta(hours=76)
    """How long a delivery is retried before it is dead."""


class BasicSection(Section):
    """HTTP basic authentication."""

    username: User = Field(examples=["pagerelay"])
    """The user name."""
    password: Password = Field(examples=["${OPS_PASSWORD}"])
    """The password."""


class OAuth2Section(Section):
    """OAuth 2.0 client credentials. Tokens are cached until they expire."""

    token_url: Url = Field(examples=["https://login.example.com/oauth2/token"])
    """The token endpoint."""
    client_id: Credential = Field(examples=["pagerelay"])
    """The client id."""
    client_secret: Password = Field(examples=["${OPS_CLIENT_SECRET}"])
    """The client secret."""
    scope: Credential | None = None
    """The scope to request."""
    audience: Credential | None = None
    """The audience to request."""
    client_auth: Literal["basic", "body"] = "basic"
    """Where the token request has client_id and client_secret: in a header (basic) or in the body."""


class AuthSection(Section):
    """Authentication to the target: exactly one of these."""

    basic: BasicSection | None = None
    """HTTP basic authentication."""
    bearer: BearerToken | None = None
    """A static bearer token."""
    oauth2: OAuth2Section | None = None
    """OAuth 2.0 client credentials."""


class TlsSection(Section):
    """TLS: PEM files with the target's certificate authorities and pagerelay's own certificate."""

    ca: Path | None = None
    """Certificate authorities to trust in addition to the system's."""
    certificate: Path | None = None
    """The client certificate, followed by its intermediate certificates."""
    key: Path | None = None
    """The client certificate's private key."""


class TargetSection(Section):
    """A webhook receiver."""

    url: Url = Field(examples=["https://hooks.example.com/pagerduty"])
    """The URL that messages are posted to."""
    secret: Secrets = Field(examples=["${OPS_SECRET}"])
    """The secret that signs messages; during rotation a list, the newest first."""
    format: str = Field("standard", json_schema_extra={"enum": [*formats.REGISTRY]})
    """The payload format."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Additional request headers."""
    timeout: Duration = timedelta(seconds=15)
    """The time limit of a whole attempt, including the response."""
    order: Literal["per-incident", "none"] = "per-incident"
    """Whether the messages of an incident are sent one after the other."""
    concurrency: Annotated[int, Field(ge=1, le=256), WHOLE] = 8
    """The maximum number of simultaneous attempts."""
    rate_limit: RateLimitSection | None = None
    """A limit on attempts; unlimited by default."""
    retry: RetrySection = Field(default_factory=RetrySection)
    proxy: ProxyUrl | None = None
    """The HTTP proxy for requests to the target."""
    auth: AuthSection | None = None
    """Authentication to the target, in addition to signatures."""
    tls: TlsSection | None = None
    """TLS settings: additional certificate authorities and a client certificate."""
    success: Expression | None = Field(None, examples=["body.ok"])
    """A JMESPath expression over status and body that a 2xx answer must meet to count as a success."""
    template: str | None = None
    """A Jinja template that renders to JSON. Only with format: template."""
    content_mode: Literal["structured", "binary"] | None = None
    """One JSON document (structured, the default) or attributes in headers (binary). Only with format: cloudevents."""
    batch: bool | None = None
    """Whether all events of a poll are sent in one message. Only with format: connector."""


class EgressSection(Section):
    """The addresses that targets may have."""

    private: Literal["allow", "deny"] = "allow"
    """Whether private and loopback addresses are allowed."""
    allow: list[Network] = Field(default_factory=list)
    """With private: deny, the networks that are allowed nevertheless."""


class ActionsSection(Section):
    """Actions in PagerDuty."""

    notify: list[str] = Field(default_factory=list)
    """The targets that receive the outcome of every action."""


class AlertsSection(Section):
    """Alerts about pagerelay itself."""

    to: list[str] = Field(default_factory=list)
    """The targets that receive an alert when a target or a connection keeps failing, and when it has recovered."""
    after: Duration = timedelta(minutes=15)
    """How long it must have been failing first."""


class WhereSection(Section):
    """A filter on the incident. A missing or empty list means any."""

    services: list[Identifier] = Field(default_factory=list)
    """Ids of services."""
    teams: list[Identifier] = Field(default_factory=list)
    """Ids of teams."""
    urgencies: list[Literal["high", "low"]] = Field(default_factory=list)
    """Urgencies: high, low."""
    escalation_policies: list[Identifier] = Field(default_factory=list)
    """Ids of escalation policies."""


class TriggerSection(Section):
    """A subscription: the events that go to the targets."""

    on: EventNames = Field(examples=["incident.triggered"])
    """One event type or a list; incident.* for all. The connector's operation ids stand for their event types."""
    connection: str | None = None
    """The connection; optional if there is only one."""
    to: list[str] = Field(examples=[["ops"]], json_schema_extra={"minItems": 1})
    """The targets."""
    every: Duration | None = None
    """How often the trigger runs; by default the connection's poll_interval."""
    user: Person | None = None
    """The id or e-mail address of the assigned user. Only with incident.assigned and its subtypes."""
    incident: Identifier | None = None
    """The id of the annotated incident. Only with incident.annotated."""
    where: WhereSection = Field(default_factory=WhereSection)
    condition: Expression | None = Field(None, alias="if", examples=["data.incident.priority.summary == 'P1'"])
    """A JMESPath expression over the message in the standard format. Only messages that match it are sent."""
    start: Instant | None = None
    """The time of the first events that a new trigger sends, as far back as the journal goes; by default now."""


class File(BaseSettings):
    """The configuration of pagerelay."""

    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    database: DatabaseSection = Field(default_factory=DatabaseSection)
    log: LogSection = Field(default_factory=LogSection)
    api: ApiSection = Field(default_factory=ApiSection)
    connections: dict[Name, ConnectionSection] = Field(json_schema_extra={"minProperties": 1})
    targets: dict[Name, TargetSection] = Field(default_factory=dict)
    egress: EgressSection = Field(default_factory=EgressSection)
    actions: ActionsSection = Field(default_factory=ActionsSection)
    alerts: AlertsSection = Field(default_factory=AlertsSection)
    triggers: dict[Name, TriggerSection] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return only the values that ``source`` has read, which knows their origins."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
