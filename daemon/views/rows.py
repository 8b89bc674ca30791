"""Rows of the database as frozen values."""

from __future__ import annotations

import collections
import dataclasses
import functools
import operator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

T = TypeVar("T")


def read_all(tx: sa.Connection, query: sa.Select[Any]) -> list[Any]:
    """Return all rows as named tuples, whose columns are read ten times as quickly as those of SQLAlchemy's rows."""
    result = tx.execute(query)
    return list(map(_row_type(tuple(result.keys()))._make, result.all()))


@functools.cache
def _row_type(columns: tuple[str, ...]) -> Any:  # noqa: ANN401 - a class made at run time
    return collections.namedtuple("Row", columns)  # noqa: PYI024 - as above


def as_value(value_type: type[T], row: Any, **fields: Any) -> T:  # noqa: ANN401 - a row of any table, or None
    """Return a value with ``fields``; all its other fields are the row's columns of the same names.

    Without a row they are None.
    """
    names, read = _columns(value_type, frozenset(fields))  # type: ignore[arg-type]  # any class is hashable
    return value_type(**dict.fromkeys(names) if row is None else dict(zip(names, read(row), strict=True)), **fields)


@functools.cache
def _columns(value_type: type[Any], others: frozenset[str]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Return the names of the fields that a row has, and a function that returns a row's values of them."""
    names = tuple(each.name for each in dataclasses.fields(value_type) if each.name not in others)
    if len(names) > 1:
        return names, operator.attrgetter(*names)
    return names, lambda row: tuple(getattr(row, name) for name in names)
