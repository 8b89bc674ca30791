"""How listings use the width of a terminal, and what a terminal gets of somebody's text."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from daemon.cli import terminal

SUMMARY = "Checkout answers with 502 to one of ten"


def printed(width: int, *rows: tuple[str | Text, ...], header: bool = True) -> list[str]:
    table = terminal.TextTable("Id", "Number", "Whose", "Summary", right=("Number",), header=header)
    for row in rows or [("Q1H0Q9CIVNR7G8", "7", Text("Alice Archer", style="bold"), SUMMARY)]:
        table.add_row(*row)
    console = Console(width=width, file=io.StringIO(), markup=False, emoji=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_with_enough_room_each_row_is_one_line() -> None:
    assert printed(100) == [
        "Id              Number  Whose         Summary",
        f"Q1H0Q9CIVNR7G8       7  Alice Archer  {SUMMARY}",
    ]


def test_the_last_column_wraps_where_a_text_can_still_be_read() -> None:
    assert printed(64)[1:] == [
        "Q1H0Q9CIVNR7G8       7  Alice Archer  Checkout answers with 502",
        "                                      to one of ten",
    ]


def test_columns_without_room_continue_below_with_their_names() -> None:
    assert printed(50) == [
        "Id              Number  Whose",
        "Q1H0Q9CIVNR7G8       7  Alice Archer",
        f"    Summary: {SUMMARY[:35]}",
        "    ten",
    ]
    assert printed(30)[:4] == [
        "Id              Number",
        "Q1H0Q9CIVNR7G8       7",
        "    Whose: Alice Archer",
        "    Summary: Checkout answers",
    ]


def test_empty_cells_do_not_continue_below() -> None:
    assert printed(30, ("Q1H0Q9CIVNR7G8", "7", "-", ""), ("2", "8", "somebody", "")) == [
        "Id              Number",
        "Q1H0Q9CIVNR7G8       7",
        "2                    8",
        "    Whose: somebody",
    ]


def test_nothing_is_lost_at_any_width() -> None:
    row = (
        "evt_4f8f4f0e0a9f8d1c2b2fbf6a",
        "1,000",
        "Κώστας 山田太郎",
        f"{'x' * 90} ディスクがいっぱいです 🔥 [bold]full[/]",
    )
    whole = sorted("".join(row).replace(" ", ""))
    for width in range(12, 220, 4):
        lines = printed(width, row, header=False)
        text = "".join(lines).replace("Number:", "").replace("Whose:", "").replace("Summary:", "")
        assert sorted(text.replace(" ", "")) == whole, width
        assert max(Text(line).cell_len for line in lines) <= width


def test_columns_are_aligned_beside_wide_characters() -> None:
    lines = printed(100, ("1", "1", "山田太郎", "one"), ("2", "1", "Alice", "two"))
    ends = (Text(line.removesuffix(end)).cell_len for line, end in zip(lines[1:], ("one", "two"), strict=True))
    assert len(set(ends)) == 1
