"""The file's sections and keys, with their defaults and meanings. The JSON Schema is generated from them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.config.field_types import (
    WHOLE,
    Address,
    ApiKey,
    BaseUrl,
    Credential,
    DatabaseUrl,
    Duration,
    EventNames,
    Expression,
    HostName,
    Identifier,
    Instant,
    Name,
    Network,
    Password,
    Person,
    ProxyUrl,
    RootPath,
    Scope,
    Subdomain,
    Token,
)
from daemon.config.section import Section
from daemon.config.target_sections import TargetSection


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


class TracesSection(Section):
    """Traces, exported with OpenTelemetry; its own environment variables (OTEL_…) say where to."""

    export: bool = False
    """Whether spans of polls, events, deliveries and attempts are exported. Requires pip install 'pagerelay[otel]'."""


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
    traces: TracesSection = Field(default_factory=TracesSection)

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
