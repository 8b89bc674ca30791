"""The choice of tests: all of them, each on one of its two databases, or each on the other one.

``make test`` and then ``make other`` run every test on both databases; each of them takes half the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Collection

    import pytest

TWIN = {"sqlite": "postgresql", "postgresql": "sqlite"}


def add_option(parser: pytest.Parser) -> None:
    """Add ``--databases``."""
    text = "run each test on both databases (the default), on one of them that the seed chooses, or on the other one"
    parser.addoption("--databases", choices=["both", "one", "other"], default="both", help=text)


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what ``--databases`` does not ask for."""
    choice = config.getoption("--databases")
    if choice == "both":
        return
    seed = int(config.getoption("--hypothesis-seed") or 0)
    ids = {item.nodeid for item in items}
    chosen = [item for item in items if is_first(item.nodeid, ids, seed) == (choice == "one")]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


def is_first(nodeid: str, every: Collection[str], seed: int) -> bool:
    """Return whether ``make test`` runs a test; ``make other`` runs those that it does not. A new seed swaps them."""
    function, bracket, case = nodeid.partition("[")
    parts = case.rstrip("]").split("-")
    database = next((part for part in parts if part in TWIN), None)
    if database is None:
        return True
    twin = f"{function}{bracket}{case.replace(database, TWIN[database], 1)}"
    if twin not in every:
        return True
    one = min(nodeid, twin)
    return (crc32(one.encode()) + seed) % 2 == (nodeid == one)
