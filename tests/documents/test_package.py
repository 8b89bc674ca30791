"""The distribution: the wheel, the pinned packages, the unit, the Makefile, and what no file may contain."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import daemon

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "pagerelay.service"
# In pieces, so that this file passes, too.
REGISTRIES = [
    ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"))
]
KEYS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|(?<![\w+])[uy][+_](?=\w*[0-9])\w{18}\b"
)


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output and errors as text."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **more)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Return every text file of the repository, by its path."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    assert listed.returncode == 0, listed.stderr
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]
    return {path: (ROOT / path).read_text(encoding="utf-8", errors="replace") for path in paths}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked wheel, built from the repository without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Return the content of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pinned(name: str) -> dict[str, str]:
    """Return the packages of a requirements file with their lines, hashes included."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return {normal(line): line for line in lines if line and not line.startswith("#")}


def normal(requirement: str) -> str:
    """Return the package that a requirement is about."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def test_the_wheel_contains_all_code_every_migration_the_command_and_the_licence(wheel: Path) -> None:
    def below(folder: Path) -> set[Path]:
        return {path.relative_to(folder) for path in folder.rglob("*.py") if "_migrations" not in path.parts}

    assert below(wheel / "daemon") == below(ROOT / "daemon")
    assert below(wheel / "daemon" / "_migrations") == set()
    carried = {path.name for path in (wheel / "daemon" / "_migrations" / "versions").glob("*.py")}
    assert carried == {path.name for path in (ROOT / "migrations" / "versions").glob("*.py")}
    (about,) = wheel.glob("*.dist-info")
    assert about.name == f"pagerelay-{daemon.__version__}.dist-info"
    assert "pagerelay = daemon.cli:main" in (about / "entry_points.txt").read_text(encoding="utf-8")
    assert (about / "licenses" / "LICENSE").read_text(encoding="utf-8").strip().startswith("Apache License")
    assert {path.name for path in wheel.iterdir()} == {"daemon", about.name}
    assert (wheel / "daemon" / "py.typed").is_file()


def test_the_wheel_can_create_a_database(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import daemon; from daemon.storage.database import Database, migrations_path; database = Database('sqlite:///x.db');"
        "print(database.upgrade(), daemon.__file__, migrations_path(), sep='\\n')"
    )
    done = run(sys.executable, "-c", code, cwd=tmp_path, env={"PYTHONPATH": str(wheel), "PATH": "/usr/bin"})
    assert done.returncode == 0, done.stderr
    _, package, migrations = done.stdout.splitlines()
    assert Path(package).is_relative_to(wheel)
    assert Path(migrations).is_relative_to(wheel)


def test_every_installed_package_is_pinned_with_hashes(project: dict[str, Any]) -> None:
    for file, wanted in (
        ("run.txt", project["project"]["dependencies"]),
        ("build.txt", project["dependency-groups"]["build"]),
        ("dev.txt", project["dependency-groups"]["dev"]),
    ):
        pins = pinned(file)
        assert {normal(each) for each in wanted} <= pins.keys(), f"run: make lock ({file})"
        assert all(re.match(r"[^\s=]+==\S+( ; [^\\]+)?\s+--hash=sha256:", line) for line in pins.values()), file


def test_a_package_has_the_same_version_in_every_requirements_file() -> None:
    versions: dict[str, set[str]] = {}
    for file in ("build.txt", "run.txt", "dev.txt"):
        for name, line in pinned(file).items():
            versions.setdefault(name, set()).add(line.split()[0])
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_no_file_names_a_package_registry(texts: dict[str, str]) -> None:
    assert [(path, host) for path, text in texts.items() for host in REGISTRIES if host in text] == []


def test_no_file_contains_anything_like_a_real_key(texts: dict[str, str]) -> None:
    assert [(path, found.group()) for path, text in texts.items() for found in KEYS.finditer(text)] == []


def test_every_test_named_in_a_document_exists(texts: dict[str, str]) -> None:
    named = {name for path, text in texts.items() if path.endswith(".md") for name in re.findall(r"`(test_\w+)`", text)}
    existing = {
        name for path, text in texts.items() if path.endswith(".py") for name in re.findall(r"def (test_\w+)\(", text)
    }
    assert named
    assert named - existing == set()


def test_the_documented_table_of_layers_is_the_enforced_one(texts: dict[str, str], project: dict[str, Any]) -> None:
    table = re.findall(r"^\| [a-z-]+ \| (`.+`) \| .+ \|$", texts["ARCHITECTURE.md"], re.MULTILINE)
    told = [name for modules in table for name in re.findall(r"`(\w+)`", modules)]
    contract = project["tool"]["importlinter"]["contracts"][0]
    level = {name: number for number, line in enumerate(contract["layers"]) for name in re.findall(r"\w+", line)}
    assert {*told, "simulator", "__main__"} == level.keys()
    layers = [{level[name] for name in re.findall(r"`(\w+)`", modules)} for modules in table]
    assert all(max(upper) < min(lower) for upper, lower in itertools.pairwise(layers))


def test_every_link_in_a_document_leads_to_a_file(texts: dict[str, str]) -> None:
    links = [
        (path, link)
        for path, text in texts.items()
        if path.endswith(".md")
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    ]
    assert [each for each in links if not (ROOT / each[0]).parent.joinpath(each[1]).exists()] == []


def anchors(text: str) -> set[str]:
    """Return the names of a document's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_into_a_document_leads_to_a_heading(texts: dict[str, str]) -> None:
    links = [
        (path, str(Path(os.path.normpath(Path(path).parent / to))) if to else path, anchor)
        for path, text in texts.items()
        if path.endswith(".md")
        for to, anchor in re.findall(r"\]\(((?![a-z]+:)[^)#\s]*)#([^)]+)\)", text)
    ]
    assert links
    assert [(path, to, anchor) for path, to, anchor in links if anchor not in anchors(texts[to])] == []


def test_the_unit_restarts_a_crashed_or_hanging_daemon_but_not_an_invalid_configuration() -> None:
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    for wanted in (
        "Type=notify",
        "WatchdogSec=30",
        "Restart=on-failure",
        "RestartPreventExitStatus=2 243",
        "StartLimitIntervalSec=0",
        "DynamicUser=yes",
    ):
        assert wanted in lines


def test_systemd_accepts_the_unit_where_it_is_installed(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8").replace("/opt/pagerelay/bin/pagerelay", sys.executable)
    copy.write_text(text.replace("file:///usr/share", "https://example.org"), encoding="utf-8")
    verified = run(analyze, "verify", "--man=no", copy)
    assert (verified.stdout + verified.stderr).strip() == ""
    rated = run(analyze, "security", "--offline=yes", "--no-pager", "--threshold=20", copy)
    assert rated.returncode == 0, rated.stdout


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 127", "Install Python 3.11 or newer"),
        ('case "$*" in *version_info*) exit 1;; *--version*) echo Python 3.9.2;; esac', "is Python 3.9.2"),
        ('case "$*" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
    ],
)
def test_make_names_what_is_missing_on_a_bare_machine(script: str, message: str, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)
    result = run("make", f"VENV={tmp_path}/venv", f"PYTHON={python}", f"{tmp_path}/venv/.created", cwd=ROOT)
    assert result.returncode != 0
    assert message in result.stdout


def test_make_without_a_target_lists_every_target() -> None:
    lines = run("make", "--no-print-directory", cwd=ROOT).stdout.splitlines()
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert phony is not None
    assert {line.split()[1] for line in lines} == set(phony[1].split())
    assert all(len(line.split()) > 2 for line in lines)


def test_make_man_writes_completions_that_each_shell_loads(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements/build.txt", "requirements/run.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, line in (
        ("python", "echo the manual page"),
        ("pagerelay", "printf '\\n#compdef pagerelay\\n\\nbody\\n'"),
    ):
        (commands / name).write_text(f"#!/bin/sh\n{line}\n")
        (commands / name).chmod(0o755)
    for name in (".created", ".run"):
        (tmp_path / ".venv" / name).touch()
    result = run("make", "--no-print-directory", "man", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "man" / "pagerelay.1").read_text() == "the manual page\n"
    bash, fish, zsh = (path.read_text() for path in sorted((tmp_path / "man" / "completions").iterdir()))
    assert bash == fish == "#compdef pagerelay\n\nbody\n", "the first line is not empty"
    assert zsh == bash + '_pagerelay_completion "$@"\n', "and zsh completes at once when it loads the file"
