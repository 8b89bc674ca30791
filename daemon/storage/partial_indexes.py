"""Partial indexes of one definition on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa


def copy_conditions(metadata: sa.MetaData, tx: sa.Connection, **_options: object) -> None:
    """Use the conditions that indexes have on SQLite on PostgreSQL, too, before tables are created there.

    Naming PostgreSQL in each definition would import its dialect, a tenth of the start of a command that needs SQLite.
    """
    if tx.dialect.name != "postgresql":
        return
    for index in (index for table in metadata.tables.values() for index in table.indexes):
        condition = index.dialect_options["sqlite"]["where"]
        if condition is not None:
            index.dialect_options["postgresql"]["where"] = condition
