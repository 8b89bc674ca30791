"""PostgreSQL: the engine, and the detection of sessions that must no longer be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon import errors

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

# A server that became read-only in a fail-over, or shuts down: read_only_sql_transaction, admin_shutdown,
# crash_shutdown, cannot_connect_now. Its sessions may last for hours after another server has taken over.
USELESS = frozenset({"25006", "57P01", "57P02", "57P03"})
INSUFFICIENT_PRIVILEGE = "42501"


def create_engine(url: sa.URL, pool_size: int, *, writes: bool) -> sa.Engine:
    """Return an engine. With ``writes`` it connects only to a server that accepts writes.

    The first error of a useless session discards all pooled sessions.
    """
    options: dict[str, Any] = {"prepare_threshold": None, "connect_timeout": 10, "application_name": "pagerelay"}
    if writes and "target_session_attrs" not in url.query:
        options["target_session_attrs"] = "read-write"
    engine = sa.create_engine(
        url, connect_args=options, pool_size=pool_size, max_overflow=2, pool_pre_ping=True, pool_timeout=10
    )

    @sa.event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: object, arguments: Any, options: Any) -> Any:  # noqa: ANN401 - fixed by SQLAlchemy
        connection = dialect.connect(*arguments, **options)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            name = connection.info.dbname
            connection.close()
            raise errors.DatabaseUnsuitable(
                f'the database "{name}" has the encoding {encoding}, which cannot store all texts '
                f"(create one with: createdb --encoding=UTF8 --template=template0 {name}_utf8)"
            )
        return connection

    @sa.event.listens_for(engine, "handle_error")
    def discard(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) in USELESS:
            context.is_disconnect = True

    return engine


def is_permission_denied(error: sa.exc.DBAPIError) -> bool:
    """Return whether the role lacked a privilege."""
    return getattr(error.orig, "sqlstate", None) == INSUFFICIENT_PRIVILEGE


def read_only_reason(tx: sa.Connection) -> str | None:
    """Return why this session's server does not accept writes, or None."""
    query = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"
    in_recovery, read_only = tx.execute(sa.text(query)).one()
    if in_recovery:
        return "PostgreSQL is in recovery (a standby): daemons cannot write"
    return "PostgreSQL is read-only: daemons cannot write" if read_only else None
