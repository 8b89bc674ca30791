"""``python -m bench``: every comparison, one after the other. ``--quick`` only shows that they work."""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import structlog

from bench import clients, delivery, polling
from tests.conftest import Postgres


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed, as ratios measured in one run.")
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it works; no figures to quote")
    parser.add_argument("parts", nargs="*", metavar="part", help="delivery, clients, polling; all if none is named")
    asked = parser.parse_args()
    parts = asked.parts or ["delivery", "clients", "polling"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="pagerelay-bench-") as folder:

        def sqlite() -> str:
            return delivery.sqlite_in(Path(folder))

        if "delivery" in parts:
            postgres = Postgres(durable=True)
            try:
                delivery.measure(quick=asked.quick, databases={"SQLite": sqlite, "PostgreSQL": postgres.new})
            finally:
                postgres.stop()
        if "clients" in parts:
            clients.measure(quick=asked.quick, new_database=sqlite)
        if "polling" in parts:
            polling.measure(quick=asked.quick, new_database=sqlite)


if __name__ == "__main__":
    main()
