"""A connection's app: which token endpoint and scope it has, and that its secret is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from daemon import config

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import OAuth2

APP = {
    "client_id": "pagerelay",
    "client_secret": "canary-app-secret",
    "subdomain": "Acme",
    "scopes": ["incidents.read", "users.read", "incidents.read"],
}
PAGERDUTY = "https://identity.pagerduty.com/oauth/token"


def app(folder: Path, oauth: dict[str, Any] | None = None, **connection: Any) -> OAuth2:
    """Return the app of a connection with such keys."""
    path = folder / "config.yaml"
    document = {"connections": {"acme": {"oauth": APP | (oauth or {})} | connection}}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    settings = config.load(path, {})
    assert "canary-app-secret" in config.secrets(settings)
    assert "canary" not in repr(settings)
    oauth2 = settings.connections["acme"].oauth
    assert oauth2 is not None
    assert settings.connections["acme"].api_key is None
    return oauth2


@pytest.mark.parametrize("region", ["us", "eu"])
def test_the_scope_names_region_and_subdomain_and_each_scope_once(tmp_path: Path, region: str) -> None:
    oauth2 = app(tmp_path, region=region)
    assert oauth2.scope == f"as_account-{region}.acme incidents.read users.read"
    assert (oauth2.token_url.get_secret_value(), oauth2.in_body) == (PAGERDUTY, True)


@pytest.mark.parametrize(
    ("api_url", "token_url", "expected"),
    [
        ("http://127.0.0.1:8422", None, "http://127.0.0.1:8422/oauth/token"),
        ("http://127.0.0.1:8422", "http://localhost:1/token", "http://localhost:1/token"),
        ("https://gateway.example.com/pagerduty", None, PAGERDUTY),
        (None, "https://login.example.com/token", "https://login.example.com/token"),
    ],
)
def test_the_token_endpoint_is_pagerdutys_the_simulators_or_the_one_named(
    tmp_path: Path, api_url: str | None, token_url: str | None, expected: str
) -> None:
    assert app(tmp_path, {"token_url": token_url}, api_url=api_url).token_url.get_secret_value() == expected
