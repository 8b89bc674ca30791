"""Rows of the database as frozen values."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")


def as_value(value_type: type[T], row: Any, **fields: Any) -> T:  # noqa: ANN401 - a row of any table, or None
    """Return a value with ``fields``; all its other fields are the row's columns of the same names.

    Without a row they are None.
    """
    columns = dataclasses.fields(value_type)  # type: ignore[arg-type]  # any dataclass: the bound has no public name
    names = [each.name for each in columns if each.name not in fields]
    return value_type(**{name: None if row is None else getattr(row, name) for name in names}, **fields)
