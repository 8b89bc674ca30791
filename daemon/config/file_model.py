"""The file's sections and keys, with their defaults and meanings. The JSON Schema is made from these."""

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
    Identifier,
    Instant,
    Name,
    Network,
    Password,
    Path,
    Person,
    ProxyUrl,
    Secrets,
    Token,
    Url,
    User,
)


class Section(BaseModel):
    """A part of the file: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class RetentionSection(Section):
    """How long things are kept."""

    events: Duration = timedelta(days=30)
    """Events in the journal, and snapshots of resolved incidents."""
    deliveries: Duration = timedelta(days=7)
    """Deliveries that were delivered, with their attempts."""
    dead: Duration = timedelta(days=30)
    """Deliveries that are dead, with their attempts."""
    actions: Duration = timedelta(days=30)
    """Actions and replays that ended."""


class DatabaseSection(Section):
    """Where everything is stored."""

    url: DatabaseUrl = SecretStr("sqlite:///pagerelay.db")
    """sqlite:///file (relative), sqlite:////file (absolute) or postgresql://user:password@host/name."""
    retention: RetentionSection = Field(default_factory=RetentionSection)


class LogSection(Section):
    """What is logged, and how."""

    format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written."""


class ApiSection(Section):
    """The HTTP server."""

    listen: Address = "127.0.0.1:8421"
    """host:port; null for no HTTP server."""
    token: Token = None
    """The bearer token that /v1 asks for; without one, /v1 answers 403."""


class LimitsSection(Section):
    """The call budget of a connection."""

    calls: Annotated[int, Field(ge=1, le=100_000), WHOLE] = 30
    """Calls to PagerDuty in any period."""
    period: Duration = timedelta(seconds=60)
    """How long the period is."""
    poll_interval: Duration = timedelta(seconds=30)
    """The shortest time between two polls."""


class ConnectionSection(Section):
    """One PagerDuty account."""

    api_key: ApiKey = Field(examples=["${PAGERDUTY_API_KEY}"])
    """A REST API key; a read-only one is enough for events, actions need a full one."""
    region: Literal["us", "eu"] = "us"
    """Where the account lives; a key of the other region is refused by PagerDuty."""
    api_url: BaseUrl | None = None
    """Another host for the REST API than the region's."""
    events_url: BaseUrl | None = None
    """Another host for the Events API than the region's."""
    limits: LimitsSection = Field(default_factory=LimitsSection)
    overlap: Duration = timedelta(minutes=5)
    """How far each poll reads back."""
    sweep_every: Duration = timedelta(minutes=15)
    """How often the last two hours are read again, for late log entries."""
    reconcile_every: Duration = timedelta(minutes=10)
    """How often snapshots are compared with the open incidents."""
    proxy: ProxyUrl | None = None
    """The HTTP proxy through which PagerDuty is reached."""


class RateLimitSection(Section):
    """The attempts that a target takes."""

    calls: Annotated[int, Field(ge=1, examples=[100]), WHOLE]
    """Attempts in any period."""
    period: Duration = Field(examples=["60s"])
    """How long the period is."""


class RetrySection(Section):
    """When a failed delivery is tried again."""

    first: Duration = timedelta(seconds=5)
    """The pause after the first attempt."""
    factor: Annotated[float, Field(ge=1, le=100), NUMBER] = 3.0
    """How much longer each further pause is."""
    max: Duration = timedelta(hours=8)
    """The longest pause."""
    horizon: Duration = timedelta(hours=76)
    """After this time a delivery is dead."""


class BasicSection(Section):
    """A user and a password."""

    username: User = Field(examples=["pagerelay"])
    """The user."""
    password: Password = Field(examples=["${OPS_PASSWORD}"])
    """The password."""


class OAuth2Section(Section):
    """Tokens, fetched with client credentials and kept while they last."""

    token_url: Url = Field(examples=["https://login.example.com/oauth2/token"])
    """Where tokens are fetched."""
    client_id: Credential = Field(examples=["pagerelay"])
    """Who pagerelay is there."""
    client_secret: Password = Field(examples=["${OPS_CLIENT_SECRET}"])
    """Its secret there."""
    scope: Credential | None = None
    """What the tokens shall be good for."""
    audience: Credential | None = None
    """Whom the tokens shall be for."""
    client_auth: Literal["basic", "body"] = "basic"
    """Whether client_id and client_secret go into a header or into the request's body."""


class AuthSection(Section):
    """Who pagerelay is to the target: exactly one of these."""

    basic: BasicSection | None = None
    """User and password."""
    bearer: BearerToken | None = None
    """A token that stays the same."""
    oauth2: OAuth2Section | None = None
    """Tokens that are fetched."""


class TlsSection(Section):
    """Certificates of the target, and pagerelay's own, as files in PEM."""

    ca: Path | None = None
    """Authorities that are trusted besides the system's."""
    certificate: Path | None = None
    """The certificate that pagerelay shows, those that it was signed with behind it."""
    key: Path | None = None
    """The key of the certificate."""


class TargetSection(Section):
    """A webhook receiver."""

    url: Url = Field(examples=["https://hooks.example.com/pagerduty"])
    """Where messages are posted."""
    secret: Secrets = Field(examples=["${OPS_SECRET}"])
    """What messages are signed with; a list while rotating, the newest first."""
    format: str = Field("standard", json_schema_extra={"enum": [*formats.REGISTRY]})
    """The payload's format."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Headers to send besides."""
    timeout: Duration = timedelta(seconds=15)
    """The longest that an attempt may take, its answer included."""
    order: Literal["per-incident", "none"] = "per-incident"
    """Whether messages of one incident are sent one after the other."""
    concurrency: Annotated[int, Field(ge=1, le=256), WHOLE] = 8
    """Attempts at the same time."""
    rate_limit: RateLimitSection | None = None
    """The most attempts in a period; none: as many as there are."""
    retry: RetrySection = Field(default_factory=RetrySection)
    proxy: ProxyUrl | None = None
    """The HTTP proxy through which the target is reached."""
    auth: AuthSection | None = None
    """How pagerelay shows the target who it is; none: by its signatures alone."""
    tls: TlsSection | None = None
    """Certificates, where the system's authorities are not enough."""
    template: str | None = None
    """The text of a Jinja template that gives JSON. With template."""
    content_mode: Literal["structured", "binary"] | None = None
    """One JSON document (structured, the default), or attributes in headers. With cloudevents."""
    batch: bool | None = None
    """One message for all events of a poll. With connector."""


class EgressSection(Section):
    """Which addresses targets may have."""

    private: Literal["allow", "deny"] = "allow"
    """Whether targets may have private and loopback addresses."""
    allow: list[Network] = Field(default_factory=list)
    """With private: deny, the networks that targets may be in nevertheless."""


class ActionsSection(Section):
    """What comes with actions."""

    notify: list[str] = Field(default_factory=list)
    """Targets that are told the outcome of every action."""


class AlertsSection(Section):
    """What pagerelay says about itself."""

    to: list[str] = Field(default_factory=list)
    """Targets that are told when a target or a connection fails for long, and when it works again."""
    after: Duration = timedelta(minutes=15)
    """How long it has to fail before."""


class WhereSection(Section):
    """What an incident must look like; what is left out, or empty, means any."""

    services: list[Identifier] = Field(default_factory=list)
    """Ids of services."""
    teams: list[Identifier] = Field(default_factory=list)
    """Ids of teams."""
    urgencies: list[Literal["high", "low"]] = Field(default_factory=list)
    """high, low."""
    escalation_policies: list[Identifier] = Field(default_factory=list)
    """Ids of escalation policies."""


class TriggerSection(Section):
    """A subscription: which events go to which targets."""

    on: EventNames = Field(examples=["incident.triggered"])
    """The event type, or a list of them; incident.* for all. The connector's operation id means its type."""
    connection: str | None = None
    """The connection; may be left out where there is only one."""
    to: list[str] = Field(examples=[["ops"]], json_schema_extra={"minItems": 1})
    """The targets."""
    every: Duration | None = None
    """How often it runs; by default the connection's poll_interval."""
    user: Person | None = None
    """Only assignments to this user: id or e-mail address. With incident.assigned and its subtypes."""
    incident: Identifier | None = None
    """Only notes of this incident. With incident.annotated."""
    where: WhereSection = Field(default_factory=WhereSection)
    condition: Expression | None = Field(None, alias="if", examples=["data.incident.priority.summary == 'P1'"])
    """A JMESPath expression over the message in the format standard; it is sent only if this is true."""
    start: Instant | None = None
    """A new trigger begins with events since then, as far as the journal goes back."""


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
        """Only what ``source`` read: it knows where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
