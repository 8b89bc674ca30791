"""The choice between the two databases of a test loses none of them."""

from __future__ import annotations

from tests.harness.two_databases import is_first

CASES = [
    f"tests/api/test_lists.py::test_{number}[{database}-{number}]"
    for number in range(100)
    for database in ("sqlite", "postgresql")
]
ALONE = ["tests/test_text.py::test_x", "tests/test_text.py::test_x[sqlite]", "tests/a.py::test_sqlite[other-sqlite]"]


def test_each_pair_is_divided_and_another_seed_swaps_it() -> None:
    first = {each for each in CASES if is_first(each, CASES, 7)}
    assert {each for each in CASES if is_first(each, CASES, 8)} == set(CASES) - first
    assert {each.partition("[")[0] for each in first} == {each.partition("[")[0] for each in CASES}
    assert len(first) == 100
    assert 30 < sum("sqlite" in each for each in first) < 70


def test_what_has_no_twin_is_always_first() -> None:
    assert all(is_first(each, ALONE, seed) for each in ALONE for seed in (7, 8))
