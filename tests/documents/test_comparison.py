"""docs/comparison.md: every claim has its source, and every named test exists."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from daemon.cli import app

ROOT = Path(__file__).parents[2]
TEXT, _, NOTES = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8").partition("\n## Sources\n")
SOURCES = dict(re.findall(r"^\[\^([\w-]+)\]: (.+)$", NOTES, re.MULTILINE))
OURS = {name: source for name, source in SOURCES.items() if name.startswith("p-")}
UNFOUNDED = re.compile(r"(no|nothing|none|\?|–)(\W.*)?")  # cells that need no source


def cells() -> list[list[str]]:
    """Return the rows of all tables, without their heads."""
    rows = [line[1:-1].split("|") for line in TEXT.splitlines() if re.match(r"\| (?!\|)(?!-)", line)]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip()]


def test_every_claim_has_a_source_and_every_source_a_claim() -> None:
    assert len(cells()) > 30
    assert {len(row) for row in cells()} == {7}
    assert [
        (row[0], cell) for row in cells() for cell in row[1:] if "[^" not in cell and not UNFOUNDED.fullmatch(cell)
    ] == []
    assert set(re.findall(r"\[\^([\w-]+)\]", TEXT)) == SOURCES.keys()


def test_claims_about_others_have_a_link_and_claims_about_us_have_a_test() -> None:
    assert [name for name, source in SOURCES.items() if name not in OURS and "https://" not in source] == []
    tried = re.compile(r"`test_|`make |`pagerelay |`curl |\]\(")
    assert [name for name, source in OURS.items() if not tried.search(source)] == []
    known = typer.main.get_command(app)
    commands = {
        words.split()[0] for source in OURS.values() for words in re.findall(r"`pagerelay ([a-z][^`]*)`", source)
    }
    assert commands <= set(getattr(known, "commands", {}))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = {target for source in OURS.values() for target in re.findall(r"`make (\w+)", source)}
    assert made <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert made
    assert commands
