"""Values as people really write them: numbers in headers, quotes from env files, secrets in other forms, pipes."""

from __future__ import annotations

import base64
import os
import time
from typing import TYPE_CHECKING

import pytest

from daemon import config, errors
from daemon.config import hints

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Settings

SECRET = "whsec_Y2FuYXJ5LXNlY3JldC1jYW5hcnktc2VjcmV0LTEyMzQ="
FILE = """
connections: {{acme: {{api_key: {key}}}}}
targets: {{ops: {{url: "https://hooks.example.com/in", secret: {secret}, headers: {{X-Account: {header}}}}}}}
triggers: {{new: {{on: incident.triggered, to: [ops]}}}}
"""


def load(folder: Path, environ: dict[str, str] | None = None, **values: str) -> Settings:
    path = folder / "config.yaml"
    path.write_text(FILE.format(**{"key": "u+abc", "secret": SECRET, "header": "x"} | values), encoding="utf-8")
    return config.load(path, environ or {})


def mistake(folder: Path, environ: dict[str, str] | None = None, **values: str) -> str:
    with pytest.raises(errors.ConfigurationError) as caught:
        load(folder, environ, **values)
    (line,) = caught.value.mistakes
    return line.partition("config.yaml:")[2].partition(": ")[2]


@pytest.mark.parametrize("text", ["0042", "1.10", "1e3", "+491700", "-0", "7", "007.50", ".5", "1_000"])
@pytest.mark.parametrize("how", ["in the file", "by reference", "by override"])
def test_a_number_in_a_header_is_sent_as_it_is_written(tmp_path: Path, text: str, how: str) -> None:
    if how == "in the file":
        settings = load(tmp_path, header=text)
    elif how == "by reference":
        settings = load(tmp_path, {"ACCOUNT": text}, header='"${ACCOUNT}"')
    else:
        settings = load(tmp_path, {"PAGERELAY_TARGETS__OPS__HEADERS__X_ACCOUNT": text})
    assert [(name, value.get_secret_value()) for name, value in settings.targets["ops"].headers] == [
        ("X-Account", text)
    ]


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize(("key", "value"), [("key", "u+abc"), ("secret", SECRET)])
def test_quotes_that_an_env_file_kept_are_named(tmp_path: Path, quote: str, key: str, value: str) -> None:
    line = mistake(tmp_path, {"VALUE": f"{quote}{value}{quote}"}, **{key: '"${VALUE}"'})
    assert line.endswith(
        "has quotes around it that belong to the value (in an env file for Docker or systemd, remove them)"
    )
    assert value not in line


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (f"v1,whsec_{encoded(b'x' * 32)}", "must begin with whsec_, without the version (remove v1, in front of it)"),
        (f"whsec_{encoded(b'x' * 9)}", "is too short: 9 bytes instead of 24 to 64 bytes"),
        (f"whsec_{encoded(b'x' * 99)}", "is too long: 99 bytes instead of 24 to 64 bytes"),
        ("whsec_" + "__-_" * 10, "is in the URL-safe form of base64 (replace - by + and _ by /)"),
        (f"whsec_{encoded(b'x' * 32).rstrip('=')}", "is not complete base64"),
        (f"whsec_{encoded(b'x' * 32)[:-2]}!=", "has characters after whsec_ that are not base64"),
        (encoded(b"x" * 30), "must begin with whsec_ or whsk_ (create: echo whsec_$(openssl rand -base64 32)"),
        ("ab12" * 16, "is hexadecimal, without whsec_ (create: echo whsec_$(openssl rand -base64 32)"),
        ("swordfish-and-more", "for a secret that the receiver created: echo whsec_$(printf %s SECRET | base64 -w0)"),
        ("whsk_zzzz", "must be whsk_ plus the base64 of a 32-byte Ed25519 key"),
    ],
)
def test_a_secret_in_another_form_is_told_which_rule_it_breaks(tmp_path: Path, secret: str, words: str) -> None:
    line = mistake(tmp_path, {"VALUE": secret}, secret='"${VALUE}"')
    assert words in line
    assert secret not in line


@pytest.mark.parametrize("size", [24, 32, 33, 63, 64])
def test_a_secret_of_every_permitted_length_is_taken(tmp_path: Path, size: int) -> None:
    secret = f"whsec_{encoded(os.urandom(size))}"
    (value,) = load(tmp_path, {"VALUE": secret}, secret='"${VALUE}"').targets["ops"].secrets
    assert value.get_secret_value() == secret


def test_a_pipe_that_nobody_writes_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    line = mistake(tmp_path, key=f'"${{file:{tmp_path}/pipe}}"')
    assert line.endswith(f"the file {tmp_path}/pipe cannot be read: it is not a regular file")


def test_a_megabyte_of_opening_braces_takes_no_longer_than_a_megabyte_of_text(tmp_path: Path) -> None:
    started = time.process_time()
    line = mistake(tmp_path, key='"' + "${" * 500_000 + '"')
    assert "a ${ without its closing brace, or with another" in line
    assert time.process_time() - started < 30


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_in_what_may_really_have_them_are_a_note_and_no_mistake(tmp_path: Path, quote: str) -> None:
    settings = load(tmp_path, {"ACCOUNT": f"{quote}canary{quote}"}, header='"${ACCOUNT}"')
    (hint,) = hints.of(settings)
    assert hint.startswith("targets.ops.headers.X-Account: has quotes around it: fine if they belong to the value")
    assert "canary" not in hint
    assert hints.of(load(tmp_path, {"ACCOUNT": f"{quote}in{quote} part"}, header='"${ACCOUNT}"')) == []
