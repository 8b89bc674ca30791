"""The files of ``tls``: read with the configuration, and every mistake in them is one of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from daemon import config
from daemon.config import difference
from tests.config.conftest import mistakes
from tests.harness.certificates import PEM, Authority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.conftest import Load

TEXT = """
connections: {acme: {api_key: a-key}}
targets:
  ops:
    url: https://hooks.example.com/in
    secret: whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz
    tls: {certificate: "FOLDER/own.pem", key: "FOLDER/own.key"}
"""
PKCS8 = serialization.PrivateFormat.PKCS8


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def text(authority: Authority, tmp_path: Path) -> str:
    """Return a configuration with files that are right."""
    authority.issue("pagerelay", client=True).written(tmp_path, "own")
    return TEXT.replace("FOLDER", str(tmp_path))


def test_valid_files_are_read_completely(load: Load, text: str, authority: Authority, tmp_path: Path) -> None:
    own, key = tmp_path / "own.pem", tmp_path / "own.key"
    own.write_text(own.read_text() + authority.pem)
    (tmp_path / "ca.pem").write_text(authority.pem + Authority("Another").pem)
    tls = load(text.replace("tls: {", f'tls: {{ca: "{tmp_path}/ca.pem", ')).targets["ops"].tls
    assert tls is not None
    assert tls.ca == (tmp_path / "ca.pem").read_text()
    assert tls.identity is not None
    assert tls.identity.get_secret_value() == f"{own.read_text()}\n{key.read_text()}"
    assert key.read_text().splitlines()[1] not in repr(tls)


def test_a_key_that_does_not_match_the_certificate_is_rejected(
    load: Load, text: str, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "own.key").write_text(authority.issue("other").key)
    (line,) = mistakes(load, text)
    assert line == "7: targets.ops.tls.key: the file does not belong to the certificate"


def test_a_key_with_a_passphrase_is_rejected(load: Load, text: str, tmp_path: Path) -> None:
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        PEM, PKCS8, serialization.BestAvailableEncryption(b"canary")
    )
    (tmp_path / "own.key").write_bytes(locked)
    (line,) = mistakes(load, text)
    assert line.startswith("7: targets.ops.tls.key: the file is encrypted (remove its passphrase: ")


@pytest.mark.parametrize("content", [b"", b"canary", b"\xff\xfe\x00", b"-----BEGIN PRIV\x00"])
def test_a_file_with_other_content_is_rejected_without_showing_the_content(
    load: Load, text: str, tmp_path: Path, content: bytes
) -> None:
    for name, key in (("own.key", "key"), ("own.pem", "certificate")):
        (tmp_path / name).write_bytes(content)
        lines = mistakes(load, text)
        assert any(line.startswith(f"7: targets.ops.tls.{key}: the file contains no PEM ") for line in lines)
        assert "canary" not in "".join(lines)


def test_a_key_that_is_too_short_is_rejected(load: Load, text: str, authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("pagerelay", key=rsa.generate_private_key(65537, 1024))
    pair.written(tmp_path, "own")
    (line,) = mistakes(load, text)
    assert (
        line
        == "7: targets.ops.tls: cannot be used: OpenSSL rejects the certificate or the key (a key may be too short)"
    )


def test_a_renewed_certificate_or_secret_file_is_a_change_although_no_name_changes(
    text: str, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(authority.pem)
    (tmp_path / "secret").write_text("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")
    file = tmp_path / "config.yaml"
    text = text.replace("tls: {", f'tls: {{ca: "{tmp_path}/ca.pem", ')
    file.write_text(text.replace("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", f"${{file:{tmp_path}/secret}}"))
    before = config.read(file, {})
    assert difference.changed(before.values, config.read(file, {}).values) == []
    authority.issue("pagerelay", client=True).written(tmp_path, "own")
    assert difference.changed(before.values, config.read(file, {}).values) == ["targets.ops.tls.certificate"]
    (tmp_path / "ca.pem").write_text(Authority("Another").pem)
    (tmp_path / "secret").write_text("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI0")
    changed = difference.changed(before.values, config.read(file, {}).values)
    assert changed == ["targets.ops.secret", "targets.ops.tls.ca", "targets.ops.tls.certificate"]
