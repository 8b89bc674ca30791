"""The file of environment variables beside the configuration: what counts, who may read it, and its mistakes."""

from __future__ import annotations

import os
import stat
import types
from typing import TYPE_CHECKING

import pytest

from daemon.config import env_file
from daemon.config.document import Tree
from tests.cli.conftest import invoke

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

CONFIGURATION = """
api: {token: "${TOKEN}"}
connections:
  acme: {api_key: "${KEY}"}
targets:
  ops: {url: "https://hooks.example.com/in", secret: "${SECRET}"}
"""
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
VARIABLES = f"""
# what daemon and commands share
export KEY=a-key    # an API key
SECRET={SECRET}
TOKEN='a#token'
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIGURATION, encoding="utf-8")
    write(tmp_path / env_file.FILE_NAME, VARIABLES)
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def check(folder: Path, **environment: str) -> Result:
    return invoke("check", "-c", str(folder / "config.yaml"), **environment)


def complaints(folder: Path, **environment: str) -> list[str]:
    result = check(folder, **environment)
    assert (result.exit_code, result.stdout) == (2, "")
    return [line.removeprefix(f"{folder}/") for line in result.stderr.splitlines()]


def test_the_file_beside_the_configuration_supplies_variables_and_check_names_it(folder: Path) -> None:
    result = check(folder)
    assert result.stdout == (
        f"{folder}/config.yaml with {folder}/pagerelay.env: ok (1 connection, 1 target, 0 triggers)\n"
    )
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_values_are_those_of_the_file_and_the_process_comes_first(folder: Path) -> None:
    from daemon import config  # noqa: PLC0415 - beside the command, the function

    def load(**environment: str) -> tuple[str, str]:
        settings = config.load(folder / "config.yaml", environment)
        assert settings.api is not None
        assert settings.api.token is not None
        api_key = settings.connections["acme"].api_key
        assert api_key is not None
        return api_key.get_secret_value(), settings.api.token.get_secret_value()

    assert load() == ("a-key", "a#token")
    assert load(KEY="another") == ("another", "a#token")
    write(folder / env_file.FILE_NAME, f"{VARIABLES}PAGERELAY_API__TOKEN=overridden\n")
    assert load() == ("a-key", "overridden")
    assert load(PAGERELAY_API__TOKEN="by-the-process") == ("a-key", "by-the-process")


def test_a_variable_names_another_file_or_none(folder: Path) -> None:
    other = folder / "other.env"
    (folder / env_file.FILE_NAME).rename(other)
    assert "KEY is not set (set it or write it into pagerelay.env" in complaints(folder)[1]
    assert f"with {other}: ok" in check(folder, PAGERELAY_ENV_FILE=str(other)).stdout
    write(folder / env_file.FILE_NAME, "nonsense")
    assert "KEY is not set" in complaints(folder, PAGERELAY_ENV_FILE="")[1]
    missing = complaints(folder, PAGERELAY_ENV_FILE=f"{folder}/none.env")
    assert missing == ["none.env: cannot be read: No such file or directory"]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_ones_own_that_nobody_else_may_read_is_used(folder: Path, mode: int) -> None:
    (folder / env_file.FILE_NAME).chmod(mode)
    assert check(folder).exit_code == 0


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_access_is_refused_with_the_command_that_mends_it(folder: Path, mode: int) -> None:
    path = folder / env_file.FILE_NAME
    path.chmod(mode)
    message = f"other users may have access to it: its mode is {mode:04o} (run: chmod 600 {path})"
    assert complaints(folder) == [f"pagerelay.env: {message}"]


def test_a_file_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(folder / env_file.FILE_NAME, 4321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4321)
    (line,) = complaints(folder)
    assert line.startswith("pagerelay.env: belongs to user ")
    assert "(run: chown " in line


@pytest.mark.parametrize(("mode", "is_used"), [(0o440, True), (0o640, True), (0o644, False), (0o660, False)])
def test_a_file_of_root_may_be_readable_by_the_group_through_which_the_service_reads_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, mode: int, is_used: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    _, inode, device, links, _, *others = os.stat(folder / env_file.FILE_NAME)  # noqa: PTH116 - a tuple
    status = os.stat_result((stat.S_IFREG | mode, inode, device, links, 0, *others))
    monkeypatch.setattr(os, "fstat", lambda _descriptor: status)
    assert (env_file.read(folder / env_file.FILE_NAME, tree := Tree(""), {}) == {}) is not is_used
    assert (tree.mistakes == []) is is_used


def test_on_a_read_only_mount_mode_and_owner_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / env_file.FILE_NAME).chmod(0o444)
    mount = types.SimpleNamespace(f_flag=os.ST_RDONLY | os.ST_NOSUID)
    monkeypatch.setattr(os, "fstatvfs", lambda _descriptor: mount)
    assert check(folder).exit_code == 0


UNCLEAR = "invalid line (write NAME=value, or NAME='value with # and spaces')"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("KEY: a-key", [f"1: {UNCLEAR}"]),
        ("\n\n# here\nKEY", [f"4: {UNCLEAR}"]),
        ("KEY=1\n\nkey with spaces=2", [f"3: {UNCLEAR}"]),
        ("KEY='a", [f"1: {UNCLEAR}"]),
        ("1KEY=a", [f"1: {UNCLEAR}"]),
        ("KEY=1\nKEY=2", ["2: duplicate variable KEY (remove one)"]),
        ("A=1\nSECRET=whsec_$(openssl rand)", ["2: SECRET: commands are not executed here (write the value itself)"]),
        ("PAGERELAY_CONFIG=x", ["1: PAGERELAY_CONFIG has no effect in this file (set it in the environment)"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(folder: Path, text: str, message: list[str]) -> None:
    write(folder / env_file.FILE_NAME, text)
    assert complaints(folder) == [f"pagerelay.env:{line}" for line in message]


def test_a_wrong_value_is_reported_with_the_lines_of_both_files_and_not_shown(folder: Path) -> None:
    write(folder / env_file.FILE_NAME, VARIABLES.replace(SECRET, "whsec_canary") + "PAGERELAY_API__LISTEN=canary\n")
    override, secret = complaints(folder)
    assert override.startswith("pagerelay.env:6: PAGERELAY_API__LISTEN: api.listen: must be host:port")
    assert secret.startswith("config.yaml:6: targets.ops.secret: ")
    assert secret.endswith(f"[its value is in {folder}/pagerelay.env:4]")
    assert "canary" not in override + secret
    by_the_process = complaints(folder, SECRET="whsec_canary", PAGERELAY_API__LISTEN="null")
    assert "pagerelay.env" not in by_the_process[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"KEY=a\nSECRET=\xff", "pagerelay.env:2: this line is not valid UTF-8"),
        (b"#" * (env_file.LARGEST_FILE + 1), "pagerelay.env: is larger than 1048576 bytes"),
    ],
)
def test_an_unusable_file_is_reported_on_one_line(folder: Path, content: bytes, message: str) -> None:
    (folder / env_file.FILE_NAME).write_bytes(content)
    assert complaints(folder) == [message]


def test_a_pipe_is_not_waited_for_and_a_dangling_link_is_reported(folder: Path) -> None:
    path = folder / env_file.FILE_NAME
    path.unlink()
    os.mkfifo(path, 0o600)
    assert complaints(folder) == ["pagerelay.env: cannot be read: it is not a regular file"]
    path.unlink()
    path.symlink_to("nowhere")
    assert complaints(folder) == ["pagerelay.env: cannot be read: No such file or directory"]


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(folder: Path) -> None:
    content = b"\xef\xbb\xbf" + VARIABLES.strip().replace("\n", "\r\n").encode()
    (folder / env_file.FILE_NAME).write_bytes(content)
    assert check(folder).exit_code == 0


def test_a_missing_credential_is_explained(folder: Path) -> None:
    path = "/run/credentials/pagerelay.service/pagerelay.env"
    result = invoke("check", "-c", str(folder / "config.yaml"), PAGERELAY_ENV_FILE=path)
    line = next(line for line in result.stderr.splitlines() if line.startswith(path))
    assert line.startswith(
        f"{path}: cannot be read: No such file or directory (check that LoadCredential=pagerelay.env:…"
    )
    (folder / "config.yaml").write_text(CONFIGURATION.replace("${TOKEN}", "${file:/run/credentials/a.service/token}"))
    assert "(check that LoadCredential=token:…" in invoke("check", "-c", str(folder / "config.yaml")).stderr
