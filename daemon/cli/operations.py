"""The operations: the table of ``action --list``, and the check of an operation with its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import actions, errors
from daemon.cli import names, parameters, terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.actions import Checked, Operation

LIST = "pagerelay action --list shows them"


def find(name: str) -> Operation:
    """Return the operation of that name. Raises UsageError with the most similar name."""
    names.must_be_known("operation", name, actions.REGISTRY, LIST)
    return actions.REGISTRY[name]


def check(name: str | None, arguments: Sequence[str]) -> Checked:
    """Return an operation with its parameters, checked. Raises UsageError with the operation's usage."""
    if name is None:
        raise errors.UsageError(f"an operation is required ({LIST})")
    operation = find(name)
    try:
        return actions.check(operation, parameters.read(operation, arguments))
    except errors.ParameterError as error:
        usage = " ".join([f"pagerelay action {name}", *(f"{key}=…" for key in operation.parameters.model_fields)])
        raise errors.UsageError(f"{error}\nusage: {usage}") from None


def show(*, json: bool) -> None:
    """Print all operations."""
    if json:
        terminal.document([_document(each) for each in actions.REGISTRY.values()])
        return
    console = terminal.console()
    table = terminal.TextTable("Operation", "Parameters", "Result", "Description")
    for each in actions.REGISTRY.values():
        table.add_row(each.name, " ".join(each.parameters.model_fields), each.result, each.help)
    console.print(table)
    console.print(
        "\nparameters: key=value, key=@file, or key=- for standard input. Ids: pagerelay incidents, users, policies",
        style="dim",
    )


def _document(operation: Operation) -> dict[str, object]:
    fields = [{"name": name, "secret": name in operation.secret} for name in operation.parameters.model_fields]
    return {
        "operation": operation.name,
        "parameters": fields,
        "result": operation.result,
        "help": operation.help,
    }
