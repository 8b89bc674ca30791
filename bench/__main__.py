"""``python -m bench``: run all comparisons one after another; ``--quick`` only checks that they work."""

from __future__ import annotations

import argparse
import contextlib
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bench import backlog, clients, delivery, latency, pages, polling, queues
from daemon.runtime import interpreter
from tests.conftest import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PARTS = {
    "delivery": (delivery.measure,),
    "queues": (queues.measure,),
    "latency": (latency.measure,),
    "backlog": (backlog.measure,),
    "clients": (clients.measure,),
    "polling": (polling.measure,),
    "pages": (pages.measure, pages.measure_open),
}


def main() -> None:
    """Run the requested comparisons."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Compare pagerelay's speed with other programs; print ratios."
    )
    parser.add_argument(
        "--quick", action="store_true", help="run for a few seconds to check that it works; the figures mean nothing"
    )
    parser.add_argument("--database", choices=["SQLite", "PostgreSQL"], help="measure on one of them only")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; default: all")
    options = parser.parse_args()
    interpreter.tune()  # as the daemon does
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with _databases(options.database) as databases:
        for part in options.parts or PARTS:
            for measure in PARTS[part]:
                measure(quick=options.quick, databases=databases)


@contextlib.contextmanager
def _databases(only: str | None) -> Iterator[dict[str, Callable[[], str]]]:
    """Yield a function that creates a new database, for both databases or for one of them."""
    databases: dict[str, Callable[[], str]] = {}
    with tempfile.TemporaryDirectory(prefix="pagerelay-bench-") as folder, contextlib.ExitStack() as stack:
        if only != "PostgreSQL":
            databases["SQLite"] = lambda: delivery.sqlite_in(Path(folder))
        if only != "SQLite":
            postgres = Postgres(durable=True)
            stack.callback(postgres.stop)
            databases["PostgreSQL"] = postgres.new
        yield databases


if __name__ == "__main__":
    main()
