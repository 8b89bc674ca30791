"""Shell completion of operations and their parameters.

Bash splits words at ``=`` and other shells do not, so the words before the cursor come in either form.
"""

from __future__ import annotations

import typer  # noqa: TC002 - typer reads the annotation


def operations(incomplete: str) -> list[tuple[str, str]]:
    """Return the operations that begin so, each with its description."""
    from daemon.actions import REGISTRY

    return [(each.name, each.help) for each in REGISTRY.values() if each.name.startswith(incomplete)]


def parameters(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the operation's parameters that are still missing; none while a value is typed.

    The last one is offered in two forms: the shell would complete a single one and put a space after ``=``.
    """
    from daemon.actions import REGISTRY

    operation = REGISTRY.get(ctx.params.get("operation") or "")
    if operation is None or "=" in incomplete:
        return []
    names = list(operation.parameters.model_fields)
    before: list[str] = list(ctx.params.get("parameters") or ())
    if before and (before[-1].endswith("=") or before[-1] in names):
        return []
    typed = {each.partition("=")[0] for each in before}
    missing = [key for key in names if key not in typed and key.startswith(incomplete)]
    choices = [(f"{key}=", "the value, or - for standard input") for key in missing]
    return choices + [(f"{key}=@", "a file with the value") for key in missing if len(missing) == 1]
