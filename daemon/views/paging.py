"""How lists come in pages, by cursors that hold while rows are added and pruned; and filters that name something."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon import errors
from daemon.text import did_you_mean, printable

LARGEST_PAGE = 500
DEFAULT_PAGE = 100
LARGEST_CURSOR = 2**63 - 1


def page(
    tx: sa.Connection, query: sa.Select[Any], key: sa.Column[int], after: str | None, limit: int, *, last: bool
) -> tuple[list[Any], str | None]:
    """Rows in the order of ``key``, and the cursor of the next page."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise errors.UsageError(f"limit is {limit}, must be 1 to {LARGEST_PAGE}")
    if after is not None:
        query = query.where(key > _position(after))
    if last:
        return list(reversed(tx.execute(query.order_by(key.desc()).limit(limit)).all())), None
    rows = list(tx.execute(query.order_by(key).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], str(getattr(rows[limit - 1], key.name))


def _position(cursor: str) -> int:
    if cursor.isascii() and cursor.isdigit() and len(cursor) <= len(str(LARGEST_CURSOR)):
        return min(int(cursor), LARGEST_CURSOR)
    raise errors.UsageError('"after" is no cursor (take the "next" of an earlier answer)')


def valid_id(name: str) -> str:
    """What holds other characters is no id, and PostgreSQL would not even take it."""
    if not name.isprintable():
        raise errors.UsageError(f"{quoted(name)} is no id")
    return name


def must_exist(tx: sa.Connection, kind: str, column: sa.Column[str], name: str) -> None:
    """Raise UsageError unless a row has that name."""
    names = list(tx.execute(sa.select(column)).scalars())
    if name not in names:
        raise errors.UsageError(f"no {kind} {quoted(name)}{did_you_mean(name, names)}")


def quoted(name: str) -> str:
    """What somebody gave, safe to be shown, in quotes."""
    return f'"{legible(name)}"'


def legible(name: str) -> str:
    """What somebody gave, safe to be shown."""
    return printable(name[:80])
