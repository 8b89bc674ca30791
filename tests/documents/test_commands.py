"""The commands and metrics that README and docs/ mention exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from daemon.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = "\n".join(
    (ROOT / "daemon" / part).read_text(encoding="utf-8")
    for part in ("api/metrics.py", "app/__init__.py", "app/reloading.py", "delivery/attempt_metrics.py")
)


def lines(text: str) -> list[str]:
    """Return the command lines: those of blocks, and those within a text."""
    blocks = re.findall(r"^ *```(?:sh|text)\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    typed = [line for block in blocks for line in re.findall(r"^(?:\$ )?(pagerelay [a-z].*)$", block, re.MULTILINE)]
    return typed + re.findall(
        r"`(pagerelay [a-z][^`]*)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    )


def parsed(line: str) -> None:
    """Parse a command line down to its options; raises what it does not know."""
    words = shlex.split(re.split(r" [|&>;] ?", line)[0].replace("…", "x"), comments=True)[1:]
    command: Any = typer.main.get_command(app)
    context: Any = None
    while True:
        context = type(command).context_class(command, info_name="pagerelay", parent=context)
        if not hasattr(command, "commands"):
            break
        _, command, words = command.resolve_command(context, words)
    command.make_parser(context).parse_args(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists_with_these_options(document: Path) -> None:
    for line in lines(document.read_text(encoding="utf-8")):
        try:
            parsed(line)
        except Exception as error:  # noqa: BLE001 - whatever the parser says is a mistake of the document
            pytest.fail(f"{line}: {error}")


def test_every_metric_in_a_document_exists() -> None:
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    named = {name.removesuffix("_total") for name in re.findall(r"`pagerelay_(\w+)`", text)}
    assert "target_failing" in named
    assert [name for name in named if not re.search(rf'"(pagerelay_)?{name}"', CODE)] == []
