"""Completion as a real bash asks for it, with the script that ``--show-completion`` prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.actions import REGISTRY
from tests.cli import forked

INSTALLED = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
COMPLETE = """
eval "$(_PAGERELAY_COMPLETE=source_bash pagerelay)"
complete -p pagerelay | grep -q _pagerelay_completion || exit 3
COMP_WORDS=(pagerelay "$@")
COMP_CWORD=$#
_pagerelay_completion pagerelay
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(*words: str, path: str = "") -> list[str]:
    """Return what bash offers for the last word, having cut the words at ``=`` as it does."""
    bash = shutil.which("bash")
    assert bash is not None, "bash is not here"
    env = os.environ | {"PATH": path or forked.path()}
    command = [bash, "--norc", "-c", COMPLETE, "bash", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_operations_are_completed() -> None:
    assert offered("action", "Ack", path=INSTALLED) == ["AcknowledgeIncident"]
    assert offered("action", "") == list(REGISTRY)
    assert offered("actions", "list", "--operation", "Re") == ["ResolveIncident", "ReassignIncident"]


@pytest.mark.parametrize("wait", [(), ("--wait", "30")])
def test_missing_parameters_are_completed(wait: tuple[str, ...]) -> None:
    assert offered("action", *wait, "SnoozeIncident", "") == ["incidentId=", "userId=", "duration="]
    words = ("SnoozeIncident", "incidentId", "=", "P1")
    assert offered("action", *wait, *words, "") == ["userId=", "duration="]


def test_a_single_parameter_is_completed_without_a_trailing_space() -> None:
    assert offered("action", "CreateIncident", "serv") == ["service_key=", "service_key=@"]


def test_commands_and_their_options_are_completed() -> None:
    assert offered("do") == ["doctor"]
    assert {"--offline", "--json", "--send", "--bundle"} <= set(offered("doctor", "--"))


def test_values_and_unknown_operations_are_not_completed() -> None:
    for words in (
        ("AcknowledgeIncident", "incidentId", "="),
        ("AcknowledgeIncident", "incidentId", "=", "u"),
        ("AcknowledgeIncident", "incidentId=u"),
        ("GetUser", "userId", "=", "P1", ""),
        ("Nonsense", "u"),
    ):
        assert [each for each in offered("action", *words) if each] == [], words
