"""The file of environment variables beside the configuration: ``pagerelay.env``, or ``$PAGERELAY_ENV_FILE``.

It keeps the secrets that the daemon and all commands share. The variables of the process come first.
"""

from __future__ import annotations

import io
import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.config.references import NAME, emptiness, reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config.document import Tree

FILE_NAME = "pagerelay.env"
VARIABLE = "PAGERELAY_ENV_FILE"
ELSEWHERE = (VARIABLE, "PAGERELAY_CONFIG")  # they say where files are, and are read before this one
LARGEST_FILE = 1024 * 1024
OTHERS = stat.S_IRWXG | stat.S_IRWXO
GROUP_OF_ROOT = stat.S_IRGRP  # may read a file of root, which no other user could read else


def find(beside: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the file's path: $PAGERELAY_ENV_FILE if set (empty: none), else ``pagerelay.env`` if it exists."""
    if VARIABLE in environ:
        return Path(environ[VARIABLE]) if environ[VARIABLE] else None
    path = beside.parent / FILE_NAME
    return path if os.path.lexists(path) else None


def read(path: Path, tree: Tree, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables of the process and of the file; the tree gets the origins and mistakes of the latter."""
    text = _text(path, tree)
    variables: dict[str, str] = {}
    for line, name, value in _assignments(path, text, tree):
        if name in variables:
            tree.mistake_in(path, line, f"duplicate variable {name} (remove one)")
        variables[name] = value
        if name not in environ:
            tree.origins[name] = f"{path}:{line}"
    return variables | dict(environ)


def _text(path: Path, tree: Tree) -> str:
    """Return the file's text, or nothing after a mistake."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe that nobody writes would keep us waiting
    except OSError as error:
        tree.mistake_in(path, 0, f"cannot be read: {reason(str(path), error)}")
        return ""
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        problem = _problem(path, descriptor)
        content = b"" if problem else file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        problem = f"is larger than {LARGEST_FILE} bytes"
    if not problem and not content.strip():
        problem = emptiness(str(path))
    if problem:
        tree.mistake_in(path, 0, problem)
        return ""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        tree.mistake_in(path, content[: error.start].count(b"\n") + 1, "this line is not valid UTF-8")
        return ""


def _problem(path: Path, descriptor: int) -> str | None:
    """Return why the file must not be used: others may read or write it.

    Mode and owner do not matter on a read-only mount, such as a container's secret or a systemd credential, since
    whoever mounts it decides who sees it.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return "cannot be read: it is not a regular file"
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        return None
    file, user = shlex.quote(str(path)), os.geteuid()
    if status.st_uid not in (0, user):
        return f"belongs to user {status.st_uid}, not to user {user}, who runs pagerelay (run: chown {user} {file})"
    mode = stat.S_IMODE(status.st_mode)
    if mode & (OTHERS if status.st_uid == user else OTHERS & ~GROUP_OF_ROOT):
        return f"other users may have access to it: its mode is {mode:04o} (run: chmod 600 {file})"
    return None


def _assignments(path: Path, text: str, tree: Tree) -> list[tuple[int, str, str]]:
    """Return line, name and value of each assignment."""
    from dotenv import parser  # noqa: PLC0415 - slow to import, and many have no such file

    assignments = []
    for binding in parser.parse_stream(io.StringIO(text)):
        original = binding.original.string
        line = binding.original.line + original[: len(original) - len(original.lstrip())].count("\n")
        if binding.key is None and not binding.error:
            continue  # a comment or an empty line
        if binding.error or binding.value is None or not NAME.fullmatch(binding.key or ""):
            tree.mistake_in(path, line, "invalid line (write NAME=value, or NAME='value with # and spaces')")
        elif binding.key in ELSEWHERE:
            tree.mistake_in(path, line, f"{binding.key} has no effect in this file (set it in the environment)")
        elif "$(" in binding.value:
            tree.mistake_in(path, line, f"{binding.key}: commands are not executed here (write the value itself)")
        else:
            assignments.append((line, str(binding.key), binding.value))
    return assignments
