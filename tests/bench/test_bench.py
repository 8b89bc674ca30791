"""The benchmark still runs; how fast anything is, no test says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_benchmark_prints_a_ratio_for_each_part() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "bench", "--quick"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "pagerelay : bare aiohttp",
        "own client : aiohttp",
        "500 triggers : 1 trigger",
        "with open pages : without",
    ):
        assert re.search(rf"ratio of .*{part} +\d+\.\d\d  \(min ", done.stdout), part
    assert re.search(r"pages on PostgreSQL.*\n  /actions/new +\d+\.\d ms +1\.0 ", done.stdout)
    assert re.search(r"latency on PostgreSQL.*\n  median +\d+ ms\n  95th percentile +\d+ ms\n", done.stdout)
    assert re.search(r"calls to PagerDuty.* 1 and 1\n", done.stdout)
