"""Checks of names that somebody typed, with a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import errors, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.settings import Settings


def must_be_known(kind: str, name: str, known: Iterable[str], see: str | None = None) -> None:
    """Raise UsageError for an unknown name. It suggests the most similar one, or ``see``, or all of them."""
    names = list(known)
    if name in names:
        return
    similar = text.nearest(name, names)
    hint = f'did you mean "{similar}"?' if similar else see or f"known: {', '.join(names) or 'none'}"
    raise errors.UsageError(f"unknown {kind} {text.quoted(name)} ({hint})")


def choose_connection(settings: Settings, name: str | None) -> str:
    """Return the connection of that name, or the only one. Raises UsageError if there is no such choice."""
    known = settings.connections
    if name is None and len(known) == 1:
        return next(iter(known))
    if name is None:
        raise errors.UsageError(f"there are several connections: name one with --connection ({', '.join(known)})")
    must_be_known("connection", name, known)
    return name
