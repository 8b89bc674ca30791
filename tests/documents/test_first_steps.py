"""The lines that a newcomer pastes from the README and from docs/install.md keep the secrets in one place."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from daemon import config
from daemon.config import env_file

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


def block(text: str, beginning: str) -> str:
    """Return the shell lines that begin so."""
    (lines,) = re.findall(rf"^```sh\n({re.escape(beginning)}.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(lines)


def run(lines: str, folder: Path) -> None:
    subprocess.run(["sh", "-euc", lines], cwd=folder, check=True, env={"PATH": "/usr/local/bin:/usr/bin:/bin"})


@pytest.fixture
def steps() -> str:
    """Return the README's lines between the installation and the editor."""
    lines = block(README, "make install").partition("\n")[2]
    return lines.partition("${EDITOR")[0]


def test_the_readme_creates_both_files_once_and_only_for_their_owner(steps: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "config.example.yaml", tmp_path)
    run(steps, tmp_path)
    variables = tmp_path / env_file.FILE_NAME
    assert variables.stat().st_mode & 0o777 == 0o600
    written = variables.read_text(encoding="utf-8")
    run(steps, tmp_path)  # pasted again, in a second terminal
    assert variables.read_text(encoding="utf-8") == written
    settings = config.load(tmp_path / "config.yaml", {})
    assert settings.env_file == variables
    assert settings.connections["acme"].api_key == SecretStr("replace-me")


def test_the_minimal_configuration_works_with_the_same_variables(steps: str, tmp_path: Path) -> None:
    (minimal,) = re.findall(r"A minimal configuration:\n\n```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "config.yaml").write_text(minimal, encoding="utf-8")
    (tmp_path / "config.example.yaml").touch()
    run(steps, tmp_path)
    assert list(config.load(tmp_path / "config.yaml", {}).triggers) == ["resolved"]


def test_the_installation_guide_creates_the_variables_in_the_same_way(steps: str) -> None:
    assert block(INSTALL, "test -e pagerelay.env").strip() in steps


def test_unit_and_compose_file_name_the_variables_where_they_mount_them() -> None:
    unit = (ROOT / "systemd" / "pagerelay.service").read_text(encoding="utf-8").splitlines()
    assert "LoadCredential=pagerelay.env:/etc/pagerelay/pagerelay.env" in unit
    assert f"Environment={env_file.VARIABLE}=/run/credentials/pagerelay.service/pagerelay.env" in unit
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["pagerelay"]
    (name,) = set(service["secrets"]) - {"database_password"}
    assert service["environment"][env_file.VARIABLE] == f"/run/secrets/{name}"
    assert compose["secrets"][name] == {"file": "./secrets/pagerelay.env"}


def test_no_shell_line_in_a_document_keeps_a_secret_only_in_a_terminal() -> None:
    exported = [
        (path.name, line)
        for path in (ROOT / "README.md", ROOT / "docs" / "install.md")
        for line in re.findall(r"^export .*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert exported == []
