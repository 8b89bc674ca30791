"""Lists in pages, with cursors that stay valid while rows are added and pruned, and checks of filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa

from daemon import errors, text

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

LARGEST_PAGE = 500
DEFAULT_PAGE = 100
LARGEST_CURSOR = 2**63 - 1
NEWEST = str(LARGEST_CURSOR)  # for ``before``: the end of the list


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next`` is the cursor of the next page, null at the end."""

    items: list[T]
    next: str | None


def read_rows(
    tx: sa.Connection,
    query: sa.Select[Any],
    key: sa.Column[int],
    after: str | None,
    limit: int,
    *,
    last: bool,
    before: str | None = None,
) -> tuple[list[Any], str | None]:
    """Return a page of rows in the order of ``key``, and the cursor of the next page.

    ``last`` returns the end of the list instead of its beginning. With ``before`` the list goes backwards: the rows
    before that cursor, the newest first. Raises UsageError for an invalid limit or cursor.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise errors.UsageError(f"limit is {limit}, must be 1 to {LARGEST_PAGE}")
    if after is not None:
        query = query.where(key > _position("after", after))
    if last:
        return list(reversed(tx.execute(query.order_by(key.desc()).limit(limit)).all())), None
    order = key.asc() if before is None else key.desc()
    if before is not None:
        query = query.where(key < _position("before", before))
    rows = list(tx.execute(query.order_by(order).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], str(getattr(rows[limit - 1], key.name))


def _position(name: str, cursor: str) -> int:
    if cursor.isascii() and cursor.isdigit() and len(cursor) <= len(str(LARGEST_CURSOR)):
        return min(int(cursor), LARGEST_CURSOR)
    raise errors.UsageError(f'invalid cursor in "{name}" (use the "next" of an earlier page)')


def valid_id(name: str) -> str:
    """Return an id that the database accepts. Raises UsageError for unprintable characters, which no id has."""
    if not name.isprintable():
        raise errors.UsageError(f"invalid id {text.quoted(name)}")
    return name


def must_exist(tx: sa.Connection, kind: str, column: sa.Column[str], name: str) -> None:
    """Raise UsageError unless a row has that name."""
    names = list(tx.execute(sa.select(column)).scalars())
    if name not in names:
        raise errors.UsageError(f"unknown {kind} {text.quoted(name)}{text.did_you_mean(name, names)}")


def must_be_state(kind: str, name: str, states: Iterable[str]) -> None:
    """Raise UsageError unless an enum of states has that name."""
    if name not in (known := list(states)):
        raise errors.UsageError(f"unknown {kind} state {text.quoted(name)} (known: {', '.join(known)})")
