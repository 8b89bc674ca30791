"""What stands for something else: references in texts, overrides in the environment, and durations."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given

from daemon.config import references, validators
from tests.config.conftest import MINIMAL, mistakes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.conftest import Load

TOKEN = "connections: {{acme: {{api_key: k}}}}\napi:\n  token: {}\n"


def token(load: Load, text: str, **environment: str) -> str | None:
    """Return what a text in the file becomes."""
    api = load(TOKEN.format(text), **environment).api
    assert api is not None
    return None if api.token is None else api.token.get_secret_value()


@pytest.mark.parametrize(
    ("text", "environment", "becomes"),
    [
        ("${NAME}", {"NAME": "abc"}, "abc"),
        ("a-${NAME}-${OTHER}-d", {"NAME": "b", "OTHER": "c"}, "a-b-c-d"),
        ("${NAME:-default}", {"NAME": "abc"}, "abc"),
        ("${NAME:-default}", {"NAME": ""}, "default"),
        ("${NAME:-default}", {}, "default"),
        ("${file:-default}", {}, "default"),
        ("a${NAME:-}", {}, "a"),
        ("a${NAME}", {"NAME": ""}, "a"),
        ("$${NAME}", {"NAME": "abc"}, "${NAME}"),
        ("$NAME", {"NAME": "abc"}, "$NAME"),
        ("a$", {}, "a$"),
        ("${NAME}", {"NAME": "${OTHER}", "OTHER": "x"}, "${OTHER}"),
        ("'${NAME}'", {"NAME": "abc"}, "abc"),
        ("${NAME}", {"NAME": "12"}, "12"),
        ("${NAME}", {"NAME": "true"}, "true"),
    ],
)
def test_a_reference_is_replaced_by_its_value(load: Load, text: str, environment: dict[str, str], becomes: str) -> None:
    assert token(load, text, **environment) == becomes


def test_a_file_is_inserted_without_its_trailing_newline(load: Load, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for content, becomes in ((b"abc\n", "abc"), (b"abc\r\n", "abc"), (b"abc", "abc")):
        secret.write_bytes(content)
        assert token(load, f"${{file:{secret}}}") == becomes


def test_a_file_whose_content_cannot_be_a_value_is_named(load: Load, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for content, why in ((b"\xff", "it is not valid UTF-8"), (b"x" * 70_000, "it is longer than 65536 characters")):
        secret.write_bytes(content)
        (line,) = mistakes(load, TOKEN.format(f"${{file:{secret}}}"))
        assert line == f"3: api.token: the file {secret} cannot be read: {why}"


def test_numbers_choices_durations_and_names_may_be_references(load: Load) -> None:
    text = MINIMAL.replace("a-key}", "a-key, region: '${R}', limits: {calls: '${C}', poll_interval: '${P}'}}")
    settings = load(
        text + "triggers: {t: {on: '${ON}', to: ['${TO}']}}", R="eu", C="7", P="90", ON="OnIncidentResolved", TO="ops"
    )
    limits = settings.connections["acme"].limits
    assert (limits.calls, limits.poll_interval) == (7, timedelta(seconds=90))
    assert settings.connections["acme"].api_url == "https://api.eu.pagerduty.com"
    assert settings.triggers["t"].to == ("ops",)


# --- overrides


def test_a_variable_overrides_the_file(load: Load) -> None:
    settings = load(
        MINIMAL.replace("ops: {", "ops: {headers: {X-Team: red}, ") + "log: {level: debug}\n",
        PAGERELAY_LOG__LEVEL="error",
        PAGERELAY_DATABASE__URL="postgresql://db/pagerelay",
        PAGERELAY_DATABASE__RETENTION__DEAD="90d",
        PAGERELAY_API__LISTEN="127.0.0.1:1",
        PAGERELAY_CONNECTIONS__ACME__API_KEY="other-key",
        PAGERELAY_CONNECTIONS__ACME__LIMITS__CALLS="5",
        PAGERELAY_TARGETS__OPS__HEADERS__X_TEAM="blue",
        pagerelay_log__format="json",
    )
    assert (settings.log.level, settings.log.format) == ("error", "auto")
    assert settings.database.url.get_secret_value() == "postgresql://db/pagerelay"
    assert settings.database.retention.dead == timedelta(days=90)
    assert settings.api is not None
    assert settings.api.port == 1
    api_key = settings.connections["acme"].api_key
    assert api_key is not None
    assert api_key.get_secret_value() == "other-key"
    assert settings.connections["acme"].limits.calls == 5
    assert [(name, value.get_secret_value()) for name, value in settings.targets["ops"].headers] == [("X-Team", "blue")]


def test_names_are_matched_ignoring_case_hyphens_and_dots(load: Load) -> None:
    text = "connections: {My-Own.account: {api_key: k}}"
    settings = load(text, PAGERELAY_CONNECTIONS__MY_OWN_ACCOUNT__REGION="eu")
    assert settings.connections["My-Own.account"].api_url == "https://api.eu.pagerduty.com"


def test_an_override_that_is_empty_or_null_unsets(load: Load) -> None:
    for text in ("", "null", "~"):
        assert load(MINIMAL, PAGERELAY_API__LISTEN=text).api is None


def test_an_override_may_be_a_reference(load: Load, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    settings = load(MINIMAL, PAGERELAY_API__TOKEN=f"${{file:{tmp_path / 'token'}}}")
    assert settings.api is not None
    assert settings.api.token is not None
    assert settings.api.token.get_secret_value() == "from-a-file"


def test_an_override_replaces_an_invalid_value_in_the_file(load: Load) -> None:
    text = MINIMAL.replace("whsec_", "nonsense_") + "log: {level: loud}\n"
    secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
    settings = load(text, PAGERELAY_LOG__LEVEL="info", PAGERELAY_TARGETS__OPS__SECRET=secret)
    assert [each.get_secret_value() for each in settings.targets["ops"].secrets] == [secret]


def test_a_mistake_in_an_override_of_a_list_names_the_override_not_the_line_in_the_file(load: Load) -> None:
    text = MINIMAL.replace("secret: whsec_", "secret: [whsec_").replace("}\n", "]}\n").replace("a-key]", "a-key")
    assert load(text).targets["ops"].secrets
    (line,) = mistakes(load, text, PAGERELAY_TARGETS__OPS__SECRET="short")
    assert line.startswith(
        "environment variable PAGERELAY_TARGETS__OPS__SECRET: targets.ops.secret: must begin with whsec_"
    )


def test_other_environment_variables_are_ignored(load: Load) -> None:
    assert load(MINIMAL, PAGERELAY_TOKEN="x", PAGERELAY_CONFIG="y", OTHER__THING="z", PAGERELAYX__A="w")


# --- durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("48h", 172_800), ("7d", 604_800), ("15", 15), (15, 15), (0.25, 0.25)],
)
def test_a_duration_is_a_number_with_a_unit_or_a_number_of_seconds(text: str | float, seconds: float) -> None:
    assert validators.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "1 s", "1w", "1S", "-1s", "1h30m", "1e3", "nan", "inf", "1_0", "٣s", True, None, [], 0, -1, 1e300]
)
def test_any_other_text_is_an_invalid_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        validators.duration(text)


@given(st.integers(min_value=1, max_value=10_000_000))
def test_a_duration_is_written_so_that_it_can_be_read_again(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert validators.duration(validators.format_duration(span)) == span


def test_a_duration_is_written_in_the_largest_unit_that_fits() -> None:
    spans = [timedelta(milliseconds=100), timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=5)]
    assert [validators.format_duration(span) for span in spans] == ["0.1s", "30s", "60s", "5m"]
    assert [validators.format_duration(timedelta(hours=hours)) for hours in (8, 24, 48, 76)] == [
        "8h",
        "24h",
        "2d",
        "76h",
    ]


def test_an_empty_credential_says_what_may_have_emptied_it(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "CREDENTIALS", f"{tmp_path}/")
    path = tmp_path / "api_key"
    path.write_text("\n")
    (line,) = mistakes(load, MINIMAL.replace("a-key", f'"${{file:{path}}}"'))
    assert line.partition("connections.acme.api_key: ")[2] == (
        f"the file {path} is empty (check that the file which LoadCredential=api_key:… in the unit names has content, "
        "and restart the service; a reload does not copy credentials again)"
    )
    (tmp_path / "pagerelay.env").touch(mode=0o600)
    (line,) = mistakes(load, MINIMAL, PAGERELAY_ENV_FILE=str(tmp_path / "pagerelay.env"))
    assert "pagerelay.env: is empty (check that the file which LoadCredential=pagerelay.env:… " in line
