"""Hints for names that are mistyped."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from daemon import errors
from daemon.cli import show as terminal

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one known name that holds ``name``, else the one that looks most like it, whatever the case."""
    lower = {each.lower(): each for each in known}
    holding = [each for key, each in lower.items() if name.lower() in key]
    if len(holding) == 1:
        return holding[0]
    near = difflib.get_close_matches(name.lower(), lower, 1)
    return lower[near[0]] if near else None


def must_be_one(kind: str, name: str, known: Iterable[str], where: str | None = None) -> None:
    """Raise UsageError unless the name is known. It names the nearest one, or ``where`` all of them are shown."""
    names = list(known)
    if name in names:
        return
    near = nearest(name, names)
    others = where or f"there {'are' if len(names) > 1 else 'is'}: {', '.join(names) or 'none'}"
    advice = f'did you mean "{near}"?' if near else others
    raise errors.UsageError(f'no {kind} "{terminal.plain(name)}" ({advice})')
