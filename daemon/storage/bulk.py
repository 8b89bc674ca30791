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


def is_postgres(tx: sa.Connection) -> bool:
    """Whether it is PostgreSQL, which unpacks in its own way."""
    return tx.dialect.name == "postgresql"


def among(tx: sa.Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """The condition that ``column`` has one of the values."""
    if is_postgres(tx):
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    return column.in_(sa.select(sa.func.json_each(_json(list(values))).table_valued("value").c.value))


def texts(tx: sa.Connection, values: Collection[str]) -> sa.TableValuedAlias:
    """A table of the values, in its only column ``value``."""
    column = sa.column("value", sa.Text)
    if is_postgres(tx):
        array = sa.literal(list(values), postgresql.ARRAY(sa.Text))
        return sa.func.unnest(array).table_valued(column).render_derived()
    return sa.func.json_each(_json(list(values))).table_valued(column)


def records(tx: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[Json]) -> sa.FromClause:
    """A table of the rows, which have values for these columns, by name."""
    if is_postgres(tx):
        typed = [sa.column(column.name, column.type) for column in columns]
        given = sa.func.json_to_recordset(sa.cast(_json(rows), postgresql.JSON)).table_valued(*typed)
        return given.render_derived(with_types=True)
    processors = {str(each.name): each.type.dialect_impl(tx.dialect).bind_processor(tx.dialect) for each in columns}
    stored = [
        {name: process(row[name]) if (process := processors[name]) else row[name] for name in processors}
        for row in rows
    ]
    value = sa.func.json_each(_json(stored)).table_valued("value").c.value
    return sa.select(*(sa.func.json_extract(value, f"$.{name}").label(name) for name in processors)).subquery()


def insert(tx: sa.Connection, table: sa.Table, rows: Sequence[Json]) -> None:
    """Insert rows, at least one, that all name the same columns."""
    columns = [table.c[name] for name in rows[0]]
    tx.execute(table.insert().from_select(columns, sa.select(records(tx, columns, rows))))


def _json(value: object) -> sa.BindParameter[str]:
    return sa.literal(orjson.dumps(value).decode(), sa.Text)
