"""``python -m bench``: run all comparisons one after another; ``--quick`` only checks that they work."""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bench import clients, delivery, latency, pages, polling
from tests.conftest import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the requested comparisons."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Compare pagerelay's speed with other programs; print ratios."
    )
    parser.add_argument(
        "--quick", action="store_true", help="run for a few seconds to check that it works; the figures mean nothing"
    )
    parser.add_argument(
        "parts", nargs="*", metavar="part", help="delivery, latency, clients, polling, pages; default: all"
    )
    parser.add_argument("--database", choices=["SQLite", "PostgreSQL"], help="measure on one of them only")
    options = parser.parse_args()
    parts = options.parts or ["delivery", "latency", "clients", "polling", "pages"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="pagerelay-bench-") as folder:

        def sqlite() -> str:
            return delivery.sqlite_in(Path(folder))

        postgres = None
        databases: dict[str, Callable[[], str]] = {}
        if options.database != "PostgreSQL":
            databases["SQLite"] = sqlite
        if options.database != "SQLite" and {"delivery", "latency", "pages"} & set(parts):
            postgres = Postgres(durable=True)
            databases["PostgreSQL"] = postgres.new
        try:
            if "delivery" in parts:
                delivery.measure(quick=options.quick, databases=databases)
            if "latency" in parts:
                latency.measure(quick=options.quick, databases=databases)
            if "pages" in parts:
                pages.measure(quick=options.quick, databases=databases)
                pages.measure_open(quick=options.quick, databases=databases)
        finally:
            if postgres is not None:
                postgres.stop()
        if "clients" in parts:
            clients.measure(quick=options.quick, new_database=sqlite)
        if "polling" in parts:
            polling.measure(quick=options.quick, new_database=sqlite)


if __name__ == "__main__":
    main()
