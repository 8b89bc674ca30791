"""``pagerelay doctor``: its table, its JSON, its exit codes, and the bundle without secrets."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from daemon import config
from daemon.control.doctor import Diagnosis, Finding, Status, bundle
from daemon.storage.database import Database, system_clock
from tests.cli.conftest import invoke
from tests.cli.test_widths import lines_of, on_terminal
from tests.harness import sample_data

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Call
    from tests.cli.test_widths import OnTerminal

TEMPLATE = "canary-template"

__all__ = ["on_terminal"]


@pytest.fixture(autouse=True)
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "last_log_lines", list)


@pytest.fixture
def configuration(tmp_path: Path, database_url: str) -> Path:
    database = Database(database_url)
    database.write_now(sample_data.fill, system_clock())
    database.close()
    return sample_data.settings(tmp_path, database_url).source


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_on_a_narrow_terminal_each_good_check_takes_one_line(on_terminal: OnTerminal) -> None:
    lines = lines_of(on_terminal(80, "doctor", "--offline"))
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["ok", "configuration", "2", "connections,", "2", "targets,", "2", "triggers"]
    good = [line for line in lines if line.startswith("ok")]
    assert ["database", "writable"] in [line.split()[1:3] for line in good]
    starts = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert set(starts) <= {"ok", "warn", "fail"}


def test_json_has_the_checks_with_text_only_and_a_remedy_unless_ok(pagerelay: Call) -> None:
    result = pagerelay("doctor", "--offline", "--json")
    document = json.loads(result.stdout)
    assert list(document) == ["checks"]
    for each in document["checks"]:
        assert list(each) == ["name", "subject", "status", "found", "remedy"]
        assert all(isinstance(value, str) for value in each.values())
        assert (each["status"] == "ok") is not bool(each["remedy"]), each
    failed = any(each["status"] == "fail" for each in document["checks"])
    assert result.exit_code == int(failed)


def test_a_connection_that_fails_is_exit_code_1_and_in_a_pipe_one_line(pagerelay: Call) -> None:
    result = pagerelay("doctor")
    assert (result.exit_code, result.stderr) == (1, "")
    failed = [line for line in result.stdout.splitlines() if line.startswith("fail")]
    assert len([line for line in failed if "connection acme" in line]) == 1
    assert [name for name in sample_data.CANARIES if name in result.output] == []


def test_a_configuration_with_mistakes_is_one_finding_for_each(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("connections: {acme: {api_key: canary-key-1, region: mars}}\ntargets: {}\n")
    result = invoke("-c", str(path), "doctor", "--json")
    (check,) = json.loads(result.stdout)["checks"]
    assert (check["name"], check["status"], result.exit_code) == ("configuration", "fail", 1)
    assert "connections.acme.region" in check["found"]
    assert check["remedy"]


def test_offline_and_send_are_wrong_use_together(pagerelay: Call) -> None:
    result = pagerelay("doctor", "--offline", "--send")
    assert result.exit_code == 2
    assert result.stderr == "--offline cannot be combined with --send (leave one of them out)\n"


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name.partition("/")[2]: file.read().decode() for name, file in files.items() if file is not None}


@pytest.mark.parametrize("name", ["bundle.tar", "bundle.tar.gz"])
def test_a_bundle_has_findings_status_configuration_versions_and_log_and_no_secret(
    name: str, pagerelay: Call, configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (
        f"secret: {sample_data.SECRET},\n",
        f"secret: {sample_data.SECRET}, format: template, template: '\"{TEMPLATE}\"',\n",
    )
    text = configuration.read_text()
    assert old in text
    text = text.replace(old, new, 1)
    configuration.write_text(text)
    hidden = config.secrets(config.load(configuration, {}))
    assert len(hidden) > 8
    monkeypatch.setattr(bundle, "last_log_lines", lambda: [f"poll.completed {each}" for each in hidden])
    path = tmp_path / name
    result = pagerelay("doctor", "--offline", "--bundle", str(path))
    assert path.stat().st_mode & 0o777 == 0o600, result.output
    files = contents(path)
    assert set(files) == {"doctor.json", "versions.json", "status.json", "configuration.json", "log.txt"}
    assert json.loads(files["doctor.json"])["checks"]
    assert json.loads(files["versions.json"])["pagerelay"]
    assert [each["name"] for each in json.loads(files["status.json"])["targets"]] == ["chat", "ops"]
    settings = json.loads(files["configuration.json"])
    assert settings["targets"]["chat"]["url"] == "https://chat.example.com/…"
    assert settings["targets"]["chat"]["options"]["template"] == f"{len(TEMPLATE) + 2} characters"
    assert settings["connections"]["acme"]["api_key"] == "***"
    assert settings["connections"]["acme"]["proxy"] == "http://127.0.0.1:1"
    canaries = *sample_data.CANARIES, TEMPLATE, *hidden
    assert [(part, each) for part, text in files.items() for each in canaries if each in text] == []
    assert [each for each in canaries if each.encode() in path.read_bytes()] == []


def test_a_bundle_replaces_no_file(pagerelay: Call, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    path.write_text("mine")
    result = pagerelay("doctor", "--offline", "--bundle", str(path))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"cannot create {path}: File exists (name a new file")
    assert path.read_text() == "mine"


def test_a_secret_is_masked_as_json_spells_it(tmp_path: Path) -> None:
    secret = 'canary-"quoted"\nsecret'
    finding = Finding("target.sample", "ops", Status.FAIL, f"the receiver said {secret}", "none")
    path = tmp_path / "bundle.tar"
    bundle.write(path, Diagnosis((finding,)), None, None, [], [secret])
    assert "the receiver said ***" in contents(path)["doctor.json"]


def test_a_bundle_is_written_without_a_usable_configuration(tmp_path: Path) -> None:
    path, bundle_path = tmp_path / "config.yaml", tmp_path / "bundle.tar"
    path.write_text("api: {token: canary-token-of-the-api, listen: nowhere}\n")
    result = invoke("-c", str(path), "doctor", "--bundle", str(bundle_path))
    assert result.exit_code == 1
    assert set(contents(bundle_path)) == {"doctor.json", "versions.json"}
    assert b"canary" not in bundle_path.read_bytes()
