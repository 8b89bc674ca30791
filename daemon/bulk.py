"""Many values, or many rows, handed to the database as one parameter.

A parameter for each value is rendered, bound and parsed one by one, in Python, while every
other thread waits. One parameter is unpacked by the database itself, and has no limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from daemon.model import Json


def among(tx: sa.Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """The condition that ``column`` has one of the values."""
    if tx.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    return column.in_(sa.select(sa.func.json_each(_json(list(values))).table_valued("value").c.value))


def insert(tx: sa.Connection, table: sa.Table, rows: Sequence[Json]) -> None:
    """Insert rows, at least one, that all name the same columns."""
    columns = [table.c[name] for name in rows[0]]
    unpack = _from_postgres if tx.dialect.name == "postgresql" else _from_sqlite
    tx.execute(table.insert().from_select(columns, sa.select(*unpack(tx, columns, rows))))


def _from_postgres(_tx: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[Json]) -> list[Any]:
    typed = [sa.column(column.name, column.type) for column in columns]
    given = sa.func.json_to_recordset(sa.cast(_json(rows), postgresql.JSON)).table_valued(*typed)
    return list(given.render_derived(with_types=True).c)


def _from_sqlite(tx: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[Json]) -> list[Any]:
    processors = {str(each.name): each.type.dialect_impl(tx.dialect).bind_processor(tx.dialect) for each in columns}
    stored = [
        {name: process(row[name]) if (process := processors[name]) else row[name] for name in processors}
        for row in rows
    ]
    each = sa.func.json_each(_json(stored)).table_valued("value").c.value
    return [sa.func.json_extract(each, f"$.{column.name}") for column in columns]


def _json(value: object) -> sa.BindParameter[str]:
    return sa.literal(orjson.dumps(value).decode(), sa.Text)
