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
    "sqlalchemy.dialects.postgresql",
    "structlog",
    "uvicorn",
)
COMMANDS = ("status", "events", "deliveries list", "targets list", "replays list")
CODE = """
import json, sys
from daemon.cli import main
outcomes = {}
_, configuration, *commands = sys.argv
for command in commands:
    sys.argv[1:] = ["--config", configuration, *command.split()]
    try:
        main()
    except SystemExit as end:
        outcomes[command] = end.code or 0, sorted(sys.modules)
json.dump(outcomes, sys.stderr)
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_commands_that_only_read_import_nothing_heavy(configuration: Path, filled: str) -> None:
    del filled
    words = [sys.executable, "-c", CODE, str(configuration), *COMMANDS]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    outcomes = json.loads(done.stderr.splitlines()[-1])
    assert list(outcomes) == list(COMMANDS)
    for command, (code, modules) in outcomes.items():
        assert code == 0, command
        assert [name for name in HEAVY if name in modules] == [], command
