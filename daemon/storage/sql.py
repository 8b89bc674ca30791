"""Statements that both databases accept: many values as one parameter, inserts that skip or replace existing rows.

Python would render, bind and parse a parameter for each value one by one, while every other thread waits. A
single JSON or array parameter is unpacked by the database itself, and its length is not limited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from daemon.model import Json

Combine: TypeAlias = "Callable[[sa.ColumnElement[Any], sa.ColumnElement[Any]], sa.ColumnElement[Any]]"

CHUNK = 500


def is_postgres(tx: sa.Connection) -> bool:
    """Return whether the database is PostgreSQL, otherwise SQLite."""
    return tx.dialect.name == "postgresql"


def to_json(value: object) -> str:
    """Return a value as JSON text, as columns store it."""
    return orjson.dumps(value).decode()


def chunks(items: Collection[Any]) -> list[list[Any]]:
    """Split items into lists of at most ``CHUNK``."""
    whole = list(items)
    return [whole[start : start + CHUNK] for start in range(0, len(whole), CHUNK)]


def among(tx: sa.Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that ``column`` equals one of the values."""
    if is_postgres(tx):
        return column == sa.any_(sa.literal(list(values), sa.ARRAY(column.type)))
    return column.in_(sa.select(sa.func.json_each(_json(list(values))).table_valued("value").c.value))


def by_partial_index(tx: sa.Connection, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return the condition of a partial index so that SQLite reads that index, in its order.

    Without statistics SQLite would prefer a complete index on the condition's column, and then read and sort the rows.
    """
    return condition if is_postgres(tx) else sa.func.likely(condition)


def value_table(tx: sa.Connection, values: Collection[str]) -> sa.TableValuedAlias:
    """Return a table of the values, with the single column ``value``."""
    column = sa.column("value", sa.Text)
    if is_postgres(tx):
        array = sa.literal(list(values), sa.ARRAY(sa.Text))
        return sa.func.unnest(array).table_valued(column).render_derived()
    return sa.func.json_each(_json(list(values))).table_valued(column)


def row_table(tx: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[Json]) -> sa.FromClause:
    """Return a table of the rows, each of which maps the names of these columns to values."""
    if is_postgres(tx):
        typed = [sa.column(column.name, column.type) for column in columns]
        recordset = sa.func.json_to_recordset(sa.cast(_json(rows), sa.JSON)).table_valued(*typed)
        return recordset.render_derived(with_types=True)
    names = [str(each.name) for each in columns]
    bound_columns = [_bound(tx, each, [row[name] for row in rows]) for name, each in zip(names, columns, strict=True)]
    value = sa.func.json_each(_json(list(zip(*bound_columns, strict=True)))).table_valued("value").c.value
    fields = (sa.func.json_extract(value, f"$[{place}]").label(name) for place, name in enumerate(names))
    return sa.select(*fields).subquery()


def _bound(tx: sa.Connection, column: sa.Column[Any], values: list[Any]) -> list[Any]:
    """Return a column's values as the database stores them."""
    process = column.type.dialect_impl(tx.dialect).bind_processor(tx.dialect)
    return values if process is None else [process(each) for each in values]


def insert_rows(tx: sa.Connection, table: sa.Table, rows: Sequence[Json]) -> None:
    """Insert rows, at least one, that all name the same columns."""
    columns = [table.c[name] for name in rows[0]]
    tx.execute(table.insert().from_select(columns, sa.select(row_table(tx, columns, rows))))


def insert_new(tx: sa.Connection, table: sa.Table, rows: Collection[Json]) -> None:
    """Insert rows; leave those that exist already unchanged."""
    for part in chunks(rows):
        tx.execute(_insert(tx, table).on_conflict_do_nothing(), part)


def _replace(_old: sa.ColumnElement[Any], new: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return new


def upsert(tx: sa.Connection, table: sa.Table, rows: Collection[Json], combine: Combine = _replace) -> None:
    """Insert rows that all name the same columns; where the primary key exists, store what ``combine`` returns.

    It gets each column's old and new value; by default the new one replaces the old one.
    """
    key = [column.name for column in table.primary_key]
    for part in chunks(rows):
        statement = _insert(tx, table)
        values = {name: combine(table.c[name], statement.excluded[name]) for name in part[0] if name not in key}
        tx.execute(statement.on_conflict_do_update(index_elements=key, set_=values), part)


def _insert(tx: sa.Connection, table: sa.Table) -> Any:  # noqa: ANN401 - two classes with the same methods
    # Each dialect is slow to import, and a process needs one.
    if is_postgres(tx):
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
    return insert(table)


def _json(value: object) -> sa.BindParameter[str]:
    return sa.literal(to_json(value), sa.Text)
