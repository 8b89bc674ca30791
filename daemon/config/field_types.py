"""The types of the file's keys: a check from ``validators`` with its JSON Schema for editors."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, SecretStr, WithJsonSchema

from daemon import triggers
from daemon.config import validators


def _text(pattern: str, *types: str) -> WithJsonSchema:
    """Return the schema of a string that matches the pattern or contains a reference."""
    return WithJsonSchema({"type": ["string", *types] if types else "string", "pattern": rf"{pattern}|\$\{{"})


_URL = _text(r"^https?://[^\s#]+$")
_DURATION = WithJsonSchema({"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$|\$\{"})
_SECRET = {
    "type": "string",
    "pattern": r"^whsec_[A-Za-z0-9+/]{32,86}={0,2}$|^whsk_([A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)$|\$\{",
}
_SECRETS = WithJsonSchema({"anyOf": [_SECRET, {"type": "array", "items": _SECRET, "minItems": 1}]})
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
_ONE_OF_THEM = [*triggers.REGISTRY, *triggers.SUBTYPES, *triggers.BY_OPERATION]
_EVENT_NAME = {"anyOf": [{"type": "string", "enum": _ONE_OF_THEM}, _REFERENCE]}
_EVENT_NAMES = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "enum": [triggers.EVERY, *_ONE_OF_THEM]},
            _REFERENCE,
            {"type": "array", "items": _EVENT_NAME, "minItems": 1, "uniqueItems": True},
            {"const": [triggers.EVERY]},
        ]
    }
)

Duration = Annotated[timedelta, BeforeValidator(validators.duration), _DURATION]
WHOLE = BeforeValidator(validators.whole)
NUMBER = BeforeValidator(validators.number)
Name = Annotated[
    str, BeforeValidator(validators.name), WithJsonSchema({"type": "string", "pattern": f"^{validators.NAME}$"})
]
Identifier = Annotated[str, BeforeValidator(validators.identifier), _text("^[A-Za-z0-9_-]+$")]
Person = Annotated[str, BeforeValidator(validators.person), _text("^[A-Za-z0-9_-]+$|@")]
Url = Annotated[SecretStr, BeforeValidator(validators.http_url), _URL]
BaseUrl = Annotated[str, BeforeValidator(validators.base_url), _URL]
ProxyUrl = Annotated[SecretStr, BeforeValidator(validators.proxy_url), _text(r"^http://[^\s/#?]+:[0-9]+/?$")]
RootPath = Annotated[str, BeforeValidator(validators.root_path), _text(f"^{validators.ROOT_PATH}$")]
Path = Annotated[str, BeforeValidator(validators.path), _text("^/")]
Credential = Annotated[str, BeforeValidator(validators.credential), _text("^.+$")]
User = Annotated[str, BeforeValidator(validators.user), _text("^[^:]+$")]
Password = Annotated[SecretStr, BeforeValidator(validators.credential), _text("^.+$")]
BearerToken = Annotated[SecretStr, BeforeValidator(validators.bearer), _text("^[!-~]+$")]
DatabaseUrl = Annotated[SecretStr, BeforeValidator(validators.database_url), _text("^sqlite:///.|^postgres(ql)?://.")]
ApiKey = Annotated[SecretStr, BeforeValidator(validators.api_key), _text("^[!-~]+$")]
Subdomain = Annotated[str, BeforeValidator(validators.subdomain), _text(f"^{validators.SUBDOMAIN}$")]
Scope = Annotated[str, BeforeValidator(validators.scope), _text(f"^{validators.SCOPE}$")]
Token = Annotated[SecretStr | None, BeforeValidator(validators.token), _text("^[!-~]+$", "null")]
Secrets = Annotated[
    list[Annotated[SecretStr, BeforeValidator(validators.signing_secret)]],
    BeforeValidator(validators.one_or_more),
    _SECRETS,
]
EventNames = Annotated[list[str], BeforeValidator(validators.event_names), _EVENT_NAMES]
Expression = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1})]
HeaderName = Annotated[
    str, BeforeValidator(validators.header_name), WithJsonSchema({"type": "string", "pattern": "^[!-~]+$"})
]
HeaderValue = Annotated[
    SecretStr, BeforeValidator(validators.header_value), WithJsonSchema({"type": ["string", "number"]})
]
Address = Annotated[str | None, BeforeValidator(validators.address), _text(f"^{validators.ADDRESS}$", "null")]
Instant = Annotated[
    datetime, BeforeValidator(validators.instant), _text(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*(Z|[+-][0-9]{2}:?[0-9]{2})$")
]
HostName = Annotated[str, BeforeValidator(validators.host_name), _text(f"^{validators.HOST_NAME}$")]
Network = Annotated[str, BeforeValidator(validators.network), WithJsonSchema({"type": "string"})]
