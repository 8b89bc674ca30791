"""What is passed on of an alert's details."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.triggers import alert_details
from daemon.triggers.alert_details import LARGEST

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=40), inner, max_size=8),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("details", "read"),
    [
        (None, None),
        ("", None),
        ({}, None),
        (["a", "list"], None),
        (17, None),
        ("text alone", "text alone"),
        ({"host": "db-1", "load": 17.2, "tags": ["a"]}, {"host": "db-1", "load": 17.2, "tags": ["a"]}),
        ("ask alice.b+c@example.co.uk now", "ask *** now"),
        ({"by": [{"who": "bob@example.com"}]}, {"by": [{"who": "***"}]}),
    ],
)
def test_a_text_or_an_object_is_passed_on_without_addresses(details: object, read: object) -> None:
    assert alert_details.read({"details": details}) == read


def test_without_details_there_is_nothing() -> None:
    assert alert_details.read({"type": "auto"}) is None


def test_a_long_text_is_cut_and_so_is_a_long_field_and_what_does_not_fit_is_left_out() -> None:
    text = alert_details.read({"details": "é" * 50_000})
    assert isinstance(text, str)
    assert text.endswith("é…")
    assert LARGEST - 4 <= len(json.dumps(text, ensure_ascii=False).encode()) <= LARGEST
    details = {"host": "db-1", "dump": ["x" * 20_000], "message": "y" * 20_000, "after": "z"}
    read: Any = alert_details.read({"details": details})
    assert list(read) == ["host", "message"]
    assert read["message"].endswith("y…")


@given(JSON)
def test_whatever_the_details_are_they_fit(details: Any) -> None:
    read = alert_details.read({"details": details})
    assert len(json.dumps(read, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")) <= LARGEST
