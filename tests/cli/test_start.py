"""What commands that only read do not import: it would cost most of the time that they take."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = (
    "alembic",
    "apscheduler",
    "cryptography",
    "fastapi",
    "httpx",
    "jinja2",
    "jmespath",
    "prometheus_client",
    "psycopg",
    "structlog",
    "uvicorn",
)
CODE = """
import json, sys
from daemon.cli import main
try:
    main()
except SystemExit as end:
    json.dump([end.code or 0, sorted(sys.modules)], sys.stderr)
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "command",
    [("status",), ("events",), ("deliveries", "list"), ("targets", "list"), ("replays", "list")],
    ids=" ".join,
)
def test_a_command_that_only_reads_imports_nothing_heavy(
    configuration: Path, filled: str, command: tuple[str, ...]
) -> None:
    del filled
    words = [sys.executable, "-c", CODE, "--config", str(configuration), *command]
    code, modules = json.loads(
        subprocess.run(words, capture_output=True, text=True, check=True).stderr.splitlines()[-1]
    )
    assert code == 0
    assert [name for name in HEAVY if name in modules] == []
