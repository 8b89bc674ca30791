"""The operations that there are, for people: the table of ``action --list``, and how each of them is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.actions import REGISTRY
from daemon.cli import show as terminal
from daemon.cli.nearest import must_be_one

if TYPE_CHECKING:
    from daemon.actions import Operation


def find(name: str) -> Operation:
    """The operation of that name. Raises UsageError that names the nearest one."""
    must_be_one("operation", name, REGISTRY, "pagerelay action --list shows them")
    return REGISTRY[name]


def usage(operation: Operation) -> str:
    """How the operation is called."""
    return " ".join(["pagerelay action", operation.name, *(f"{key}=…" for key in operation.parameters.model_fields)])


def show(*, json: bool) -> None:
    """Print all of them."""
    if json:
        terminal.document([_document(each) for each in REGISTRY.values()])
        return
    console = terminal.console()
    table = terminal.table("Operation", "Parameters", "Result", "What it does", wrapped=("Parameters", "What it does"))
    for each in REGISTRY.values():
        table.add_row(each.name, " ".join(each.parameters.model_fields), each.result, each.help)
    console.print(table)
    console.print(
        "\nparameters: key=value, key=@file, or key=- for standard input. "
        "Ids to fill in: pagerelay incidents, users, policies",
        style="dim",
    )


def _document(operation: Operation) -> dict[str, object]:
    parameters = [{"name": name, "secret": name in operation.secret} for name in operation.parameters.model_fields]
    return {
        "operation": operation.name,
        "parameters": parameters,
        "result": operation.result,
        "help": operation.help,
    }
