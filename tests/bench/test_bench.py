"""The benchmark still runs; how fast anything is, no test says."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from bench import __main__ as bench

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture
def process_settings() -> Iterator[None]:
    """Restore afterwards what the benchmark sets for its whole process."""
    seconds = sys.getswitchinterval()
    yield
    sys.setswitchinterval(seconds)
    structlog.reset_defaults()


@pytest.mark.usefixtures("process_settings")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_benchmark_prints_a_ratio_for_each_part(
    database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name = NAMES[database]
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--database", name, *PARTS[database]])
    bench.main()
    out, err = capfd.readouterr()
    assert err == ""
    for part in RATIOS.keys() & PARTS[database]:
        assert re.search(rf"ratio of .*{RATIOS[part]} +\d+\.\d\d  \(min ", out), part
    assert QUEUES[database] in out, "a ratio, or what is missing for it"
    assert re.search(rf"pages on {name}.*\n  /actions/new +\d+\.\d ms +1\.0 ", out)
    assert re.search(rf"latency on {name}.*\n  median +\d+ ms\n  95th percentile +\d+ ms\n", out)
    assert database == "sqlite" or re.search(r"calls to PagerDuty.* 1 and 1\n", out)
