"""The manual page names every command and option, and roff reads it without a complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from daemon.cli import COMMANDS
from tests.documents import man_page

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """Return the text of each command's section, by the words that call the command."""
    parts = re.split(r"^\.S[SH] (.*)\n", man_page.page().replace(r"\-", "-"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_manual_page_describes_every_command_with_every_option(sections: dict[str, str]) -> None:
    commands = list(man_page.commands())
    assert {path.split()[1] for path, _, _ in commands} == COMMANDS.keys()
    assert {"pagerelay db restore", "pagerelay replays show"} <= {path for path, _, _ in commands}
    for path, command, context in commands:
        names = [name for parameter in command.params for name in parameter.opts if name.startswith("-")]
        assert [name for name in names if name not in sections[path]] == [], path
        assert (command.help or "").splitlines()[0] in sections[path]
        assert all(text.split()[0] in sections[path] for _, text in man_page.options(command, context) if text)
    assert "--install-completion" in sections["OPTIONS"]


def test_roff_reads_the_manual_page_without_a_complaint(tmp_path: Path) -> None:
    page = tmp_path / "pagerelay.1"
    page.write_text(man_page.page(), encoding="utf-8")
    assert max(map(len, page.read_text(encoding="utf-8").splitlines())) < 1000
    for command in (
        ["mandoc", "-Tlint", "-W", "warning", str(page)],
        ["man", "--warnings", "-E", "ascii", "-l", str(page)],
    ):
        if shutil.which(command[0]) is None:
            continue
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        assert "WARNING" not in result.stdout
