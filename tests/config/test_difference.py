"""What differs between two configurations."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.config.difference import changed


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ({}, {}, []),
        ({"a": {"b": 1, "c": [1]}}, {"a": {"b": 1, "c": [1]}}, []),
        ({"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": [1, 2]}}, ["a.b", "a.c"]),
        ({"targets": {}}, {"targets": {"ops": {"url": "x", "secret": "y"}}}, ["targets.ops"]),
        ({"targets": {"ops": {"url": "x"}}}, {"targets": {}}, ["targets.ops"]),
        ({"targets": {"ops": {"tls": None}}}, {"targets": {"ops": {"tls": {"ca": "x"}}}}, ["targets.ops.tls"]),
    ],
)
def test_paths_name_what_differs_and_entries_once(old: dict[str, Any], new: dict[str, Any], paths: list[str]) -> None:
    assert changed(old, new) == paths
