"""Overrides from the environment: ``PAGERELAY_<SECTION>__<KEY>`` replaces one value of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.config import json_schema
from daemon.config.document import dotted, hint
from daemon.config.references import replaced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config.document import Place, Tree

PREFIX = "PAGERELAY_"
SEPARATOR = "__"


def apply(tree: Tree, environ: Mapping[str, str]) -> None:
    """Put every override into the tree, and record the invalid ones as mistakes."""
    for variable, text in sorted(environ.items()):
        if variable.startswith(PREFIX) and SEPARATOR in variable:
            place = _place(tree, variable)
            if place is not None:
                _put(tree, place, variable, text, environ)


def _place(tree: Tree, variable: str) -> Place | None:
    """Return the place that a variable names, or None after a mistake. Names match ignoring case, ``-`` and ``.``."""
    place: Place = ()
    for part in variable.removeprefix(PREFIX).split(SEPARATOR):
        here = tree.value(place)
        names = list(here) if isinstance(here, dict) else []
        known = list(json_schema.section(place).get("properties", names))
        matches = [name for name in known if _plain(name) == _plain(part)]
        if len(matches) > 1:
            tree.mistake_of_variable(variable, f"is ambiguous: {' or '.join(matches)} (set it in the file)")
            return None
        if not matches:
            section = f" in {dotted(place)}" if place else ""
            tree.mistake_of_variable(variable, f'unknown key "{part.lower()}"{section}{hint(part.lower(), known)}')
            return None
        place = (*place, matches[0])
    return place


def _put(tree: Tree, place: Place, variable: str, text: str, environ: Mapping[str, str]) -> None:
    if json_schema.section(place).get("type") in ("object", "array"):
        tree.mistake_of_variable(variable, f"{dotted(place)} is not a single value (set it in the file)")
        return
    here: Any = tree.values
    for part in place[:-1]:
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
        if not isinstance(here, dict):
            return  # a mistake in the file, which is reported as such
    for inner in [each for each in tree.marks if each[: len(place)] == place]:
        del tree.marks[inner]
    tree.variables[place] = variable
    here[str(place[-1])] = _single(replaced(text, place, tree, environ))


def _single(text: str) -> Any:  # noqa: ANN401 - any scalar
    return None if text in {"", "null", "~"} else {"true": True, "false": False}.get(text.lower(), text)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
