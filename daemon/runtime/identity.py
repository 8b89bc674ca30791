"""Who this process is: a name by which another one on the same machine can tell whether it still lives.

A process id alone may have been given to somebody else since. With the time at which the
process began, the boot and the process-id namespace that both belong to, it is exact.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from pathlib import Path

PROC = Path("/proc")
BEGAN = 18  # the field of /proc/<pid>/stat, counted from behind the state
GONE = {"Z", "X"}


def name() -> str:
    """A name for a daemon in this process, different from every other's."""
    pid = os.getpid()
    return f"{socket.gethostname()}-{_place()}-{pid}-{_began(pid)}-{uuid.uuid4().hex[:8]}"


def has_ended(named: str) -> bool:
    """Whether the process that gave itself this name has ended; False also if that cannot be known here."""
    match named.rsplit("-", 4):
        case [_, place, pid, began, _] if pid.isdecimal() and began and place == _place():
            return _began(int(pid)) != began and not _is_hidden(int(pid))
    return False


def _place() -> str:
    """The boot of this machine and the namespace of process ids; unique if one of them may not be read."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return uuid.uuid4().hex[:8]
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:8]


def _is_hidden(pid: int) -> bool:
    """Whether a process lives of which this one may see nothing: another user's, where /proc shows only one's own."""
    if (PROC / str(pid)).exists():
        return False
    try:
        os.kill(pid, 0)  # sends nothing, only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _began(pid: int) -> str:
    """When a process began, in clock ticks after the boot; empty if there is none."""
    try:
        status = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    state, *fields = status.rpartition(")")[2].split()
    return "" if state in GONE else fields[BEGAN]
