"""The hash of a configuration: equal exactly for configurations with which a daemon does the same."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from daemon.settings import fingerprint

if TYPE_CHECKING:
    from tests.config.conftest import Load

ACME, BETA = "  acme: {api_key: a-key}\n", "  beta: {api_key: b-key}\n"
TEXT = """
database: {url: "sqlite:///one.db", retention: {events: 5d}}
api: {listen: "127.0.0.1:8421", token: "${TOKEN:-a-token}"}
connections:
  acme: {api_key: a-key}
  beta: {api_key: b-key}
targets:
  ops: {url: "https://hooks.example.com/in", secret: whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz, headers: {X-A: "1"}}
triggers:
  new: {on: incident.triggered, connection: acme, to: [ops], where: {services: [P1, P2, P3, P4, P5]}}
egress: {allow: [10.0.0.0/8]}
"""


def test_the_hash_does_not_depend_on_where_the_values_come_from(load: Load) -> None:
    written = TEXT.replace("${TOKEN:-a-token}", "a-token")
    assert fingerprint(load(TEXT)) == fingerprint(load(TEXT, TOKEN="a-token")) == fingerprint(load(written))


def test_the_hash_does_not_depend_on_order_or_on_the_addresses_of_database_and_api(load: Load) -> None:
    same = (
        TEXT.replace("P1, P2, P3, P4, P5", "P5, P3, P1, P2, P4"),
        TEXT.replace("one.db", "two.db"),
        TEXT.replace("127.0.0.1:8421", "127.0.0.1:8422"),
        TEXT.replace(ACME + BETA, BETA + ACME),
    )
    assert {fingerprint(load(text)) for text in (TEXT, *same)} == {fingerprint(load(TEXT))}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a-token", "another"),
        ("a-key", "another"),
        ("MDEyMz", "MDEyMj"),
        ("/in", "/out"),
        ("incident.triggered", "incident.resolved"),
        ("P1, ", ""),
        ('X-A: "1"', 'X-A: "2"'),
        ("10.0.0.0/8", "10.0.0.0/9"),
        ("events: 5d", "events: 6d"),
    ],
)
def test_the_hash_differs_if_anything_else_differs(load: Load, old: str, new: str) -> None:
    assert old in TEXT
    assert fingerprint(load(TEXT)) != fingerprint(load(TEXT.replace(old, new, 1)))


def test_different_configurations_have_different_hashes(load: Load) -> None:
    hashes = [fingerprint(load(TEXT.replace("5d", f"{days}d"))) for days in range(5, 15)]
    assert all(one != other for one, other in itertools.combinations(hashes, 2))
    assert {len(each) for each in hashes} == {64}
