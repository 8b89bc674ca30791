"""Hints about values that are valid but probably a mistake. They reject nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.config.validators import is_quoted
from daemon.settings import Basic, OAuth2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.settings import Settings, Target

QUOTED = "has quotes around it: fine if they belong to the value; in an env file for Docker or systemd, remove them"


def of(settings: Settings) -> list[str]:
    """Return one hint for each value that may really be as it is, in the configuration's order."""
    hints = []
    for target in settings.targets.values():
        hints += [f"targets.{target.name}.{key}: {QUOTED}" for key, value in _free_texts(target) if is_quoted(value)]
    return hints


def _free_texts(target: Target) -> Iterator[tuple[str, str]]:
    """Yield the key and value of everything that may begin and end with a quotation mark."""
    for name, value in target.headers:
        yield f"headers.{name}", value.get_secret_value()
    match target.auth:
        case Basic(username, password):
            yield "auth.basic.username", username
            yield "auth.basic.password", password.get_secret_value()
        case OAuth2():
            yield "auth.oauth2.client_id", target.auth.client_id
            yield "auth.oauth2.client_secret", target.auth.client_secret.get_secret_value()
