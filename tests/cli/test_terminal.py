"""How tables use the room that there is."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from daemon.cli import terminal


def printed(width: int, cut: tuple[str, ...] = (), wrapped: tuple[str, ...] = ()) -> list[str]:
    table = terminal.table("Id", "Whose", "Summary", cut=cut, wrapped=wrapped)
    table.add_row("Q1H0Q9CIVNR7G8", Text("Alice Archer", style="bold"), "Checkout answers with 502 to one of ten")
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_only_columns_that_may_be_truncated_are_truncated_at_any_width() -> None:
    for width in (66, 50, 40):
        (_, line) = printed(width, cut=("Summary",))
        assert line.startswith("Q1H0Q9CIVNR7G8  Alice Archer  Ch")
        assert line.endswith("…")
        assert len(line) == width


def test_columns_that_may_be_wrapped_continue_on_the_next_line() -> None:
    lines = printed(50, wrapped=("Summary",))
    assert lines[1:] == [
        "Q1H0Q9CIVNR7G8  Alice Archer  Checkout answers",
        "                              with 502 to one of",
        "                              ten",
    ]


def test_nothing_is_truncated_when_there_is_room() -> None:
    (_, line) = printed(100, cut=("Whose", "Summary"))
    assert line == "Q1H0Q9CIVNR7G8  Alice Archer  Checkout answers with 502 to one of ten"
