"""Whether a daemon that left its name in the database still lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.runtime import identity
from daemon.storage import instances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.storage.database import Database
    from tests.conftest import ManualClock

SCRIPT = "from daemon.runtime import identity; print(identity.name(), flush=True); input()"


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """Yield a process that prints its name and waits."""
    command = [sys.executable, "-c", SCRIPT]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        yield started
        started.kill()


def name_of(other: subprocess.Popen[str]) -> str:
    """Return the name that it prints."""
    assert other.stdout is not None
    return other.stdout.readline().strip()


def test_a_running_process_has_not_ended(other: subprocess.Popen[str]) -> None:
    assert not identity.has_ended(name_of(other))
    assert not identity.has_ended(identity.name())


def test_a_killed_process_has_ended_before_and_after_its_parent_reaps_it(
    other: subprocess.Popen[str],
) -> None:
    named = name_of(other)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert identity.has_ended(named)
    other.wait()
    assert identity.has_ended(named)


def test_a_reused_process_id_counts_as_ended() -> None:
    host, place, pid, began, token = identity.name().rsplit("-", 4)
    assert identity.has_ended("-".join((host, place, pid, str(int(began) - 1), token)))


def test_a_running_process_of_another_user_has_not_ended(
    other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = name_of(other)
    proc = tmp_path / "proc"
    proc.mkdir()
    for what in ("sys", "self"):
        (proc / what).symlink_to(f"/proc/{what}")
    monkeypatch.setattr(identity, "PROC", proc)
    assert not identity.has_ended(named)
    other.kill()
    other.wait()
    assert identity.has_ended(named)


@pytest.mark.parametrize("named", ["", "a", "relay-1", "a-b-c-d-e", "relay-1-00000000-99999999-5-abcdef"])
def test_an_instance_of_another_host_does_not_count_as_ended(named: str) -> None:
    assert not identity.has_ended(named)


def test_without_process_information_no_instance_counts_as_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(identity, "PROC", tmp_path)
    named = identity.name()
    assert not identity.has_ended(named)
    assert named != identity.name()


def test_a_daemon_known_to_have_ended_is_reaped_before_its_lease_expires(
    database: Database, clock: ManualClock
) -> None:
    for instance in ("lives", "ended"):
        database.write_now(instances.register, instance, "host", "0", clock())
    clock.advance(1)
    assert database.write_now(instances.reap, clock(), "ended".__eq__) == ["ended"]
    assert database.write_now(instances.reap, clock(), "ended".__eq__) == []
