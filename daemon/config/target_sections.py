"""The sections and keys of a target, with their defaults and meanings."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from daemon import formats
from daemon.config.field_types import (
    NUMBER,
    WHOLE,
    BearerToken,
    Credential,
    Duration,
    Expression,
    HeaderName,
    HeaderValue,
    Password,
    Path,
    ProxyUrl,
    Secrets,
    Url,
    User,
)
from daemon.config.section import Section


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
    traceparent: bool = False
    """Whether the receiver gets a traceparent header, which lets it continue the trace. Requires traces.export."""
    success: Expression | None = Field(None, examples=["body.ok"])
    """A JMESPath expression over status and body that a 2xx answer must meet to count as a success."""
    template: str | None = None
    """A Jinja template that renders to JSON. Only with format: template."""
    content_mode: Literal["structured", "binary"] | None = None
    """One JSON document (structured, the default) or attributes in headers (binary). Only with format: cloudevents."""
    batch: bool | None = None
    """Whether all events of a poll are sent in one message. Only with format: connector."""
