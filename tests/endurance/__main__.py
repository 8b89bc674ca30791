"""``python -m tests.endurance [name …] [--database …] [--seed N]``: the long runs, with their results."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.storage.database import Database
from tests.conftest import Postgres
from tests.endurance import action_scenarios, alerting, failing_receivers, reloading, replaying, scenarios

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTOR = {"calls": 30, "period": "60s", "poll_interval": "30s"}
RUNS: dict[str, Callable[[Path, str, int], Any]] = {
    "faults": lambda folder, url, seed: scenarios.faults(folder, url, incidents=500, seconds=60, seed=seed),
    "crash": lambda folder, url, seed: scenarios.crash(
        folder, url, incidents=500, seconds=60, kills=10, seed=seed, limits=None
    ),
    "budget": lambda folder, url, seed: scenarios.crash(
        folder, url, incidents=150, seconds=150, kills=10, seed=seed, limits=scenarios.STRICT
    ),
    "downtime": lambda folder, url, seed: scenarios.downtime(
        folder, url, days=3, rate=0.3, seed=seed, limits=scenarios.STRICT
    ),
    "trouble": lambda folder, url, seed: failing_receivers.beside(
        folder, url, incidents=100, seconds=20, rounds=3, seed=seed, pace=scenarios.PACE
    ),
    "outage": lambda folder, url, seed: failing_receivers.outage(
        folder, url, hours=1, rate=30, limit=500, live=50, seconds=10, seed=seed, pace=scenarios.PACE
    ),
    "once": lambda folder, url, seed: action_scenarios.once(folder, url, count=200, kills=10, seconds=60, seed=seed),
    "flood": lambda folder, url, seed: action_scenarios.flood(
        folder, url, count=500, limits=CONNECTOR, seed=seed, together=True
    ),
    "singly": lambda folder, url, seed: action_scenarios.flood(
        folder, url, count=100, limits=CONNECTOR, seed=seed, together=False
    ),
    "replay": lambda folder, url, seed: replaying.replay(
        folder, url, count=10_000, kills=5, incidents=20, seconds=10, seed=seed
    ),
    "reload": lambda folder, url, seed: reloading.long(folder, url, seed=seed),
    "alerts": lambda folder, url, seed: alerting.alerts(folder, url, seed=seed),
    "idle": lambda folder, url, seed: scenarios.idle(folder, url, seconds=600, seed=seed),
}
ON_ONE_DATABASE = {"alerts": "postgresql"}  # runs a daemon on SQLite, too


def main() -> None:
    """Run the requested scenarios, by default on both databases."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance")
    parser.add_argument("name", nargs="*", default=list(RUNS), help=", ".join(RUNS))
    parser.add_argument("--database", choices=["sqlite", "postgresql"])
    parser.add_argument("--seed", type=int, default=20261123)
    options = parser.parse_args()
    databases = [options.database] if options.database else ["sqlite", "postgresql"]
    postgres = Postgres(durable=True) if "postgresql" in databases else None
    try:
        for name in options.name:
            for database in (each for each in databases if ON_ONE_DATABASE.get(name, each) == each):
                began = time.monotonic()
                print(f"{name} on {database}, seed {options.seed} …", flush=True)
                with tempfile.TemporaryDirectory(prefix="pagerelay-endurance-") as folder:
                    url = postgres.new() if postgres and database == "postgresql" else _sqlite(folder)
                    figures = asyncio.run(RUNS[name](Path(folder), url, options.seed))
                took = f"{time.monotonic() - began:.0f} s"
                print(f"  {took}  {json.dumps(figures)}", flush=True)
    finally:
        if postgres:
            postgres.stop()


def _sqlite(folder: str) -> str:
    url = f"sqlite:///{folder}/pagerelay.db"
    database = Database(url)
    database.upgrade()
    database.close()
    return url


if __name__ == "__main__":
    main()
