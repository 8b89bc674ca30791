"""Statements that both databases accept: many values as one parameter, inserts that skip or replace existing rows.

Python would render, bind and parse a parameter for each value one by one, while every other thread waits. A
single JSON or array parameter is unpacked by the database itself, and its length is not limited. Building a statement
takes several times as long as running it, so those that run often are built once, with named parameters.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import orjson
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from daemon.model import Json

Combine: TypeAlias = "Callable[[sa.ColumnElement[Any], sa.ColumnElement[Any]], sa.ColumnElement[Any]]"

T = TypeVar("T")

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


class _NumbersAsText(sa.types.UserDefinedType[str]):
    """A PostgreSQL array of numbers, given as its text: the driver would take fifty times as long to write it."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_options: object) -> str:
        """Return the name of the type."""
        return "BIGINT[]"


class Many(sa.types.TypeDecorator[Any]):
    """Several values as one parameter: an array, or JSON text for SQLite."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the database's own type."""
        if dialect.name != "postgresql":
            return sa.Text()
        return _NumbersAsText() if self._is_number else sa.ARRAY(self.item)

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ANN401 - fixed by SQLAlchemy
        """Return the values as the driver takes them."""
        if dialect.name != "postgresql":
            return to_json(list(value))
        return f"{{{to_json(list(value))[1:-1]}}}" if self._is_number else list(value)

    @property
    def _is_number(self) -> bool:
        return isinstance(self.item, sa.Integer)


def many(name: str, item: sa.types.TypeEngine[Any]) -> sa.BindParameter[Any]:
    """Return the parameter ``name`` of a statement for several values of a type."""
    return sa.bindparam(name, type_=Many(item))


def among(tx: sa.Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that ``column`` equals one of the values."""
    parameter = sa.bindparam("values", values, Many(column.type), unique=True)
    return _among(column, "values", parameter, postgres=is_postgres(tx))


def among_parameter(
    values: sa.BindParameter[Any], column: sa.ColumnElement[Any], *, postgres: bool
) -> sa.ColumnElement[bool]:
    """Return the condition that ``column`` equals one of the values of a parameter, as ``many`` returns it."""
    return _among(column, values.key, values, postgres=postgres)


def _among(
    column: sa.ColumnElement[Any], name: str, values: sa.BindParameter[Any], *, postgres: bool
) -> sa.ColumnElement[bool]:
    if postgres:
        return column == sa.any_(values)
    # SQLAlchemy builds a text four times as quickly as its elements.
    return column.in_(sa.text(f"SELECT json_each.value FROM json_each(:{name})").bindparams(values))  # noqa: S608 - no data


def often_true(tx: sa.Connection, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return the condition of a partial index so that SQLite reads that index, in its order.

    Without statistics SQLite expects that few rows meet an equation, and sorts what an index on that column finds.
    PostgreSQL has statistics.
    """
    return condition if is_postgres(tx) else sa.func.likely(condition)


def value_table(name: str, *, postgres: bool) -> sa.TableValuedAlias:
    """Return a table of the texts in the parameter ``name``, with the single column ``value``."""
    column, texts = sa.column("value", sa.Text), many(name, sa.Text())
    if postgres:
        return sa.func.unnest(texts).table_valued(column).render_derived()
    return sa.func.json_each(texts).table_valued(column)


def row_table(name: str, columns: Sequence[sa.Column[Any]], *, postgres: bool) -> sa.FromClause:
    """Return a table with these columns, of the rows in the parameter ``name``: see ``row_values``."""
    rows = sa.bindparam(name, type_=sa.Text)
    if postgres:
        typed = [sa.column(column.name, column.type) for column in columns]
        recordset = sa.func.json_to_recordset(sa.cast(rows, sa.JSON)).table_valued(*typed)
        return recordset.render_derived(with_types=True)
    value = sa.func.json_each(rows).table_valued("value").c.value
    fields = (sa.func.json_extract(value, f"$[{place}]").label(each.name) for place, each in enumerate(columns))
    return sa.select(*fields).subquery()


def list_column(name: str) -> sa.Column[Any]:
    """Return a column of a ``row_table`` whose values are lists of texts: see ``listed``."""
    return sa.Column(name, sa.types.NullType().with_variant(sa.JSON(), "postgresql"))


def listed(column: sa.ColumnElement[Any], *, postgres: bool) -> sa.TableValuedAlias:
    """Return a table of the texts in each list of a column, with the single column ``value``, to join with its own."""
    if postgres:
        return sa.func.json_array_elements_text(column).table_valued("value").render_derived()
    return sa.func.json_each(column).table_valued("value")


def row_values(tx: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[Json]) -> str:
    """Return rows, which map the names of these columns to values, as the parameter of a ``row_table``."""
    if is_postgres(tx):
        return to_json(rows)
    bound_columns = [_bound(tx, each, [row[each.name] for row in rows]) for each in columns]
    return to_json(list(zip(*bound_columns, strict=True)))


def _bound(tx: sa.Connection, column: sa.Column[Any], values: list[Any]) -> list[Any]:
    """Return a column's values as the database stores them."""
    process = column.type.dialect_impl(tx.dialect).bind_processor(tx.dialect)
    return values if process is None else [process(each) for each in values]


def all_rows(tx: sa.Connection, query: sa.Select[Any], parameters: Json) -> Sequence[Sequence[Any]]:
    """Return the rows of a query, which SQLite hands over as a single JSON text.

    Its driver releases the interpreter's lock for each row, and waits each time while the event loop is busy. JSON has
    fewer digits than a column with floats.
    """
    if is_postgres(tx):
        return tx.execute(query, parameters).all()
    rows = orjson.loads(tx.execute(_as_json(query), parameters).scalar_one())
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for place, column in enumerate(query.selected_columns if rows else ()):
        process = column.type.dialect_impl(tx.dialect).result_processor(tx.dialect, None)
        if process is not None:
            columns[place] = [process(value) for value in columns[place]]
    return list(zip(*columns, strict=True))


@functools.cache
def _as_json(query: sa.Select[Any]) -> sa.Select[Any]:
    rows = query.subquery()
    return sa.select(sa.func.json_group_array(sa.func.json_array(*rows.c)))


def insert_rows(tx: sa.Connection, table: sa.Table, rows: Sequence[Json]) -> None:
    """Insert rows, at least one, that all name the same columns."""
    _insert_all(tx, table, rows, skips=False)


def insert_new(tx: sa.Connection, table: sa.Table, rows: Sequence[Json]) -> None:
    """Insert rows that all name the same columns, in their order; leave those that exist already unchanged."""
    if rows:
        _insert_all(tx, table, rows, skips=True)


def insert_new_returning(tx: sa.Connection, table: sa.Table, rows: Sequence[Json], column: sa.Column[T]) -> set[T]:
    """Insert rows as ``insert_new`` does; return the values of a column of those that did not exist."""
    if not rows:
        return set()
    statement = _insertion(table, tuple(rows[0]), postgres=is_postgres(tx), skips=True).returning(column)
    return set(tx.execute(statement, _parameters(tx, table, rows)).scalars())


def _insert_all(tx: sa.Connection, table: sa.Table, rows: Sequence[Json], *, skips: bool) -> None:
    tx.execute(_insertion(table, tuple(rows[0]), postgres=is_postgres(tx), skips=skips), _parameters(tx, table, rows))


def _parameters(tx: sa.Connection, table: sa.Table, rows: Sequence[Json]) -> Json:
    return {"rows": row_values(tx, [table.c[name] for name in rows[0]], rows)}


@functools.cache
def _insertion(table: sa.Table, names: tuple[str, ...], *, postgres: bool, skips: bool) -> sa.Insert:
    selected = _select_rows(table, names, postgres=postgres)
    if skips:
        return insertion_of_new(table, selected, postgres=postgres)
    return _insert_selected(table, selected, postgres=postgres)  # type: ignore[no-any-return]


def _select_rows(table: sa.Table, names: Sequence[str], *, postgres: bool) -> sa.Select[Any]:
    return sa.select(row_table("rows", [table.c[name] for name in names], postgres=postgres))


def insertion_of_new(table: sa.Table, selected: sa.Select[Any], *, postgres: bool) -> sa.Insert:
    """Return the statement that inserts what is selected, by the columns' names, except rows that exist already."""
    statement = _insert_selected(table, selected, postgres=postgres)
    return statement.on_conflict_do_nothing()  # type: ignore[no-any-return]


def _insert_selected(table: sa.Table, selected: sa.Select[Any], *, postgres: bool) -> Any:  # noqa: ANN401 - see _insert
    names = selected.selected_columns.keys()
    # SQLite would read the ON of ON CONFLICT as that of a join if there were no WHERE.
    return _insert(table, postgres=postgres).from_select(names, selected.where(sa.true()))


def _replace(_old: sa.ColumnElement[Any], new: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return new


def upsert(tx: sa.Connection, table: sa.Table, rows: Sequence[Json], combine: Combine = _replace) -> None:
    """Insert rows with different keys that all name the same columns; where a key exists, store ``combine``'s result.

    It gets each column's old and new value; by default the new one replaces the old one.
    """
    if rows:
        names = tuple(map(str, rows[0]))  # JSON has no keys of SQLAlchemy's own class of names
        statement = _upsertion(table, names, combine, postgres=is_postgres(tx))
        plain = [{name: row[name] for name in names} for row in rows]
        tx.execute(statement, _parameters(tx, table, plain))


@functools.cache
def _upsertion(table: sa.Table, names: tuple[str, ...], combine: Combine, *, postgres: bool) -> sa.Insert:
    key = [column.name for column in table.primary_key]
    statement = _insert_selected(table, _select_rows(table, names, postgres=postgres), postgres=postgres)
    values = {name: combine(table.c[name], statement.excluded[name]) for name in names if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=values)  # type: ignore[no-any-return]


def _insert(table: sa.Table, *, postgres: bool) -> Any:  # noqa: ANN401 - two classes with the same methods
    # Each dialect is slow to import, and a process needs one.
    if postgres:
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
    return insert(table)
