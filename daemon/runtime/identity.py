"""The identity of this process: a name with which another process on the machine can detect that it has ended.

Process ids are reused, so the name also has the start time of the process, the boot and the process-id namespace.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from pathlib import Path

PROC = Path("/proc")
START_FIELD = 18  # the start time's field of /proc/<pid>/stat, counted after the state
GONE = {"Z", "X"}


def name() -> str:
    """Return a unique name for a daemon in this process."""
    pid = os.getpid()
    return f"{socket.gethostname()}-{_place()}-{pid}-{_start_time(pid)}-{uuid.uuid4().hex[:8]}"


def has_ended(instance: str) -> bool:
    """Return whether the process of this name has certainly ended; False also if that is unknown here."""
    match instance.rsplit("-", 4):
        case [_, place, pid, started, _] if pid.isdecimal() and started and place == _place():
            return _start_time(int(pid)) != started and not _is_hidden(int(pid))
    return False


def _place() -> str:
    """Return an id of the boot and the process-id namespace, or a random one if they cannot be read."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return uuid.uuid4().hex[:8]
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:8]


def _is_hidden(pid: int) -> bool:
    """Return whether a process is running but not visible: /proc may hide the processes of other users."""
    if (PROC / str(pid)).exists():
        return False
    try:
        os.kill(pid, 0)  # sends no signal, only checks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> str:
    """Return when a process started, in clock ticks after the boot; empty if it is not running."""
    try:
        status = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    state, *fields = status.rpartition(")")[2].split()
    return "" if state in GONE else fields[START_FIELD]
