"""What the short forms share: daemons that start quickly, and a seed."""

from __future__ import annotations

import os

import pytest

from tests.cli import forked
from tests.endurance import world
from tests.harness import pooler

collect_ignore = [] if pooler.PROGRAM else ["test_pooler.py"]


@pytest.fixture(autouse=True)
def quick_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the daemons start without the second that Python takes to import them."""

    def launch(arguments: list[str], output: int) -> forked.Process:
        return forked.Process(arguments, world.ROOT, os.environ, output)

    monkeypatch.setattr(world, "launch", launch)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the property tests' seed, so that another seed creates another world here as well."""
    return int(request.config.getoption("--hypothesis-seed") or 1)
