"""What differs between the databases in the definitions of tables and indexes.

Naming PostgreSQL in each definition would import its dialect, a tenth of the start of a command that needs SQLite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

WHERE = "postgresql_where"  # in the info of an index: its condition, if it differs from that on SQLite
FILLED = "postgresql_fillfactor"  # in the info of a table: how full its pages are filled with new rows, in percent


def adapt(metadata: sa.MetaData, tx: sa.Connection, **_options: object) -> None:
    """Define tables and indexes for PostgreSQL, before they are created there."""
    if tx.dialect.name != "postgresql":
        return
    for table in metadata.tables.values():
        if FILLED in table.info:
            table.dialect_options["postgresql"]["with"] = {"fillfactor": table.info[FILLED]}
        for index in table.indexes:
            condition = index.info.get(WHERE, index.dialect_options["sqlite"]["where"])
            if condition is not None:
                index.dialect_options["postgresql"]["where"] = condition
