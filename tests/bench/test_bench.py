"""The benchmark still runs; how fast anything is, no test says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = {
    "sqlite": ("delivery", "queues", "latency", "clients", "pages"),
    "postgresql": ("delivery", "queues", "latency", "polling", "pages"),
}
QUEUES = {"sqlite": "Celery", "postgresql": "Procrastinate"}
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
RATIOS = {
    "delivery": "pagerelay : bare aiohttp",
    "clients": "own client : aiohttp",
    "polling": "500 triggers : 1 trigger",
    "pages": "with open pages : without",
}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_benchmark_prints_a_ratio_for_each_part(database: str) -> None:
    root, name = Path(__file__).parents[2], NAMES[database]
    command = [sys.executable, "-m", "bench", "--quick", "--database", name, *PARTS[database]]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for part in RATIOS.keys() & PARTS[database]:
        assert re.search(rf"ratio of .*{RATIOS[part]} +\d+\.\d\d  \(min ", done.stdout), part
    assert QUEUES[database] in done.stdout, "a ratio, or what is missing for it"
    assert re.search(rf"pages on {name}.*\n  /actions/new +\d+\.\d ms +1\.0 ", done.stdout)
    assert re.search(rf"latency on {name}.*\n  median +\d+ ms\n  95th percentile +\d+ ms\n", done.stdout)
    assert database == "sqlite" or re.search(r"calls to PagerDuty.* 1 and 1\n", done.stdout)
