"""What the shell offers after TAB: the names of operations and of their parameters.

Bash cuts words at ``=``, other shells do not: what was typed before comes in either way.
"""

from __future__ import annotations

import typer  # noqa: TC002 - typer reads the annotation


def operations(incomplete: str) -> list[tuple[str, str]]:
    """The operations, each with what it does."""
    from daemon.actions import REGISTRY

    return [(each.name, each.help) for each in REGISTRY.values() if each.name.startswith(incomplete)]


def parameters(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The parameters of the operation that are not given yet; nothing while a value is typed.

    The last one is offered in two forms: of a single one the shell takes the word for complete, and
    puts a space behind ``=``.
    """
    from daemon.actions import REGISTRY

    operation = REGISTRY.get(ctx.params.get("operation") or "")
    if operation is None or "=" in incomplete:
        return []
    known = list(operation.parameters.model_fields)
    before: list[str] = list(ctx.params.get("parameters") or ())
    if before and (before[-1].endswith("=") or before[-1] in known):
        return []
    given = {each.partition("=")[0] for each in before}
    left = [key for key in known if key not in given and key.startswith(incomplete)]
    offered = [(f"{key}=", "the value itself, or - for standard input") for key in left]
    return offered + [(f"{key}=@", "a file that holds it") for key in left if len(left) == 1]
