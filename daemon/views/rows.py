"""Rows of the database as frozen values."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, TypeVar

T = TypeVar("T")


def as_value(value_type: type[T], row: Any, **fields: Any) -> T:  # noqa: ANN401 - a row of any table, or None
    """Return a value with ``fields``; all its other fields are the row's columns of the same names.

    Without a row they are None.
    """
    names = [name for name in _names(value_type) if name not in fields]  # type: ignore[arg-type]  # any class is hashable
    return value_type(**{name: None if row is None else getattr(row, name) for name in names}, **fields)


@functools.cache
def _names(value_type: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in dataclasses.fields(value_type))
