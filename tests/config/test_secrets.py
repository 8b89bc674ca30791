"""No secret of a configuration is in anything that anybody gets to see, whatever is wrong beside it."""

from __future__ import annotations

import dataclasses
import traceback
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from daemon import config, errors
from tests.cli.conftest import invoke

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.conftest import Load

CANARIES = (
    "canary-password",
    "canary-token",
    "canary-read-token",
    "canary-key",
    "whsec_Y2FuYXJ5LW9mLXRoZS1maXJzdC1zZWNyZXQ=",
    "whsec_Y2FuYXJ5LW9mLXRoZS1zZWNvbmQtc2VjcmV0LQ==",
    "canary-header",
    "canary-query",
    "canary-proxy",
    "canary-gateway",
    "whsk_Y2FuYXJ5LW9mLXRoZS1rZXktcGFpci1zZWNyZXQtMTI=",
    "canary-login",
    "canary-bearer",
    "canary-client-secret",
)
GOOD = """
database:
  url: postgresql://pagerelay:canary-password@db.example.com:5432/pagerelay
api:
  listen: 127.0.0.1:8421
  token: canary-token
  read_token: canary-read-token
connections:
  acme:
    api_key: canary-key
    region: eu
    proxy: http://user:canary-gateway@proxy.example.com:3128
  beta: {api_key: canary-key, region: us}
targets:
  ops:
    url: https://hooks.example.com/in?k=canary-query
    secret:
      - whsec_Y2FuYXJ5LW9mLXRoZS1maXJzdC1zZWNyZXQ=
      - whsec_Y2FuYXJ5LW9mLXRoZS1zZWNvbmQtc2VjcmV0LQ==
    headers:
      X-Key: canary-header
      X-Team: ops
    proxy: http://user:canary-proxy@proxy.example.com:3128
    auth:
      oauth2:
        token_url: https://login.example.com/?k=canary-query
        client_id: pagerelay
        client_secret: canary-client-secret
  gate: {url: "https://gate.example.com/in", secret: whsk_Y2FuYXJ5LW9mLXRoZS1rZXktcGFpci1zZWNyZXQtMTI=,
    auth: {basic: {username: pagerelay, password: canary-login}}}
  bus: {url: "https://bus.example.com/in", secret: whsk_Y2FuYXJ5LW9mLXRoZS1rZXktcGFpci1zZWNyZXQtMTI=,
    auth: {bearer: canary-bearer}}
  chat: {url: "https://chat.example.com/?k=canary-query",
    secret: whsec_Y2FuYXJ5LW9mLXRoZS1maXJzdC1zZWNyZXQ=, headers: {X-Key: canary-header}}
triggers:
  new: {on: incident.triggered, connection: acme, to: [ops]}
"""
BESIDE = {  # a mistake beside each secret
    "url: postgresql": "uri: 1\n  url: postgresql",
    "  token:": "  tokn: 1\n  token:",
    "region: eu": "regoin: eu",
    "region: us": "region: mars",
    "secret:\n": "secrt: 1\n    secret:\n",
    "X-Team": "X Team",
    "client_id": "client",
    "username: pagerelay": "user: pagerelay",
    "auth: {bearer": "auth: {barer: x, bearer",
    "chat: {": "chat: {timeout: soon, ",
    "to: [ops]": "to: [opss]",
}
INSIDE = {  # a mistake in each secret
    "canary-password@db.example.com:5432": "canary-password/@db.example.com:5432",
    "token: canary-token": "token: canary-token two",
    "api_key: canary-key\n": "api_key: canary-key two\n",
    "{api_key: canary-key": "{api_key: [canary-key]",
    "in?k=canary-query": "in?k=canary-query#part",
    "ZXQ=\n": "ZXQ\n",
    "LQ==\n": "LQ\n",
    "X-Key: canary-header\n": 'X-Key: "canary-header\\n"\n',
    "ZXQ=,": "ZXQ,",
    '?k=canary-query",': '? k=canary-query",',
    "headers: {X-Key: canary-header}": "headers: [canary-header]",
    "canary-gateway@proxy.example.com:3128\n  beta": "canary-gateway@proxy.example.com\n  beta",
    "client_secret: canary-client-secret": 'client_secret: "canary-client-secret\\n"',
    "password: canary-login": 'password: "canary-login\\x01"',
    "bearer: canary-bearer": "bearer: Bearer canary-bearer",
    "login.example.com/?k=canary-query": "login.example.com/?k=canary-query#part",
}
BREAKING = {  # where a secret becomes something else than a value
    "token: canary-token": "canary-token",
    "token: canary-token ": "token canary-token",
    "api_key: canary-key\n": "api_key: canary-key: x\n",
    "{api_key: canary-key": "{canary-key",
    "X-Key: canary-header}": "canary-header}",
    "connection: acme": "connection: canary-key",
    "on: incident.triggered": "on: canary-key",
    "to: [ops]": "to: [canary-key, whsec_Y2FuYXJ5LW9mLXRoZS1maXJzdC1zZWNyZXQ=]",
    "- whsec": "- *whsec",
    "api_key: canary-key\n ": 'api_key: "canary-key\n ',
    "  token:": "  token: !canary-token",
    "region: eu": "region: canary-key",
    "listen: 127.0.0.1:8421": "listen: canary-token",
    "auth: {bearer: canary-bearer}": "auth: canary-bearer",
}
VARIABLES = {
    "PAGERELAY_DATABASE__URL": "postgresql://u:canary-password/x@db/pagerelay",
    "PAGERELAY_API__TOKEN": "canary-token two",
    "PAGERELAY_CONNECTIONS__ACME__API_KEY": "canary-key two",
    "PAGERELAY_TARGETS__OPS__SECRET": "canary-token",
    "PAGERELAY_TARGETS__OPS__HEADERS__X_KEY": "canary-header\n",
    "PAGERELAY_LOG__LEVEL": "canary-token",
    "PAGERELAY_TARGETS__GATE__AUTH__BASIC__PASSWORD": "canary-token\n",
    "PAGERELAY_TARGETS__OPS__PROXY": "http://user:canary-token@proxy",
    "PAGERELAY_TARGETS__NONE": "canary-token",
    "PAGERELAY_TARGETS__OPS": "canary-token",
}


def leaked(text: str) -> list[str]:
    """Return the canaries in a text."""
    return [canary for canary in (*CANARIES, "canary") if canary in text]


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(("changes", "count"), [(BESIDE, 13), (INSIDE, 16)], ids=["beside", "inside"])
def test_check_does_not_show_an_invalid_secret(tmp_path: Path, changes: dict[str, str], count: int) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(replaced(GOOD, changes))
    for arguments in (("check",), ("--traceback", "check"), ("run",)):
        result = invoke("--config", str(path), *arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, count), result.stderr
        assert leaked(result.output) == []


@pytest.mark.parametrize("old", BREAKING)
def test_a_misplaced_secret_is_not_shown(tmp_path: Path, old: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD.replace(old.rstrip(" "), BREAKING[old], 1))
    result = invoke("check", "--config", str(path))
    assert result.exit_code == 2
    assert leaked(result.output) == []


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_override_is_not_shown(tmp_path: Path, variable: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD)
    result = invoke("check", "--config", str(path), **{variable: VARIABLES[variable]})
    assert leaked(result.output) == []
    assert result.exit_code == 2
    assert result.stderr.startswith(f"environment variable {variable}: ")


@pytest.mark.parametrize("changes", [BESIDE, INSIDE], ids=["beside", "inside"])
def test_an_error_and_its_cause_contain_no_secret(load: Load, changes: dict[str, str]) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        load(replaced(GOOD, changes))
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert leaked("".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))) == []


def test_settings_show_no_secret(load: Load) -> None:
    settings = load(GOOD)
    parts = [settings.database, settings.api, *settings.connections.values(), *settings.targets.values()]
    assert leaked("".join([repr(settings), str(settings), *map(repr, parts), *map(str, parts)])) == []
    assert leaked(repr(dataclasses.asdict(settings))) == []


def test_every_secret_is_listed_for_masking(load: Load) -> None:
    assert set(CANARIES) - {"canary-query"} <= set(config.secrets(load(GOOD)))
    assert "k=canary-query" in config.secrets(load(GOOD))


def test_a_long_path_of_a_target_is_hidden(load: Load) -> None:
    path = "/services/T0/B0/canary-path"
    assert path in config.secrets(load(GOOD.replace("hooks.example.com/in", f"hooks.example.com{path}")))


def test_a_password_is_hidden_both_encoded_and_decoded(load: Load) -> None:
    hidden = config.secrets(load(GOOD.replace("canary-password", "canary%2Fpassword")))
    assert {"canary%2Fpassword", "canary/password"} <= set(hidden)


@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_either_loads_or_reports_each_mistake_on_one_clean_line(
    tmp_path: Path, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(GOOD) - 1), label="start")
    length = data.draw(st.integers(0, 40), label="length")
    put = data.draw(
        st.sampled_from(["", "", " ", "\n", ":", ": ", "- ", '"', "{", "]", "${", "#", "\t", "*", "&a ", "1"])
    )
    path = tmp_path / "config.yaml"
    path.write_text(GOOD[:start] + put + GOOD[start + length :])
    mistakes: list[str] | None = None
    try:
        config.load(path, {})
    except errors.ConfigurationError as error:
        mistakes = error.mistakes
    assert mistakes != []
    for line in mistakes or []:
        assert line.startswith(f"{path}:")
        assert line.isprintable()
        assert leaked(line) == []
