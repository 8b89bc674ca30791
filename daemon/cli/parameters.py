"""An action's parameters on the command line: ``key=value``, ``key=@file`` or ``key=-`` for standard input.

A value from a file or from standard input is never visible in the process list. No error repeats a value.
"""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

from daemon import errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from daemon.actions import Operation

STDIN = "-"
FILE = "@"
LARGEST = 256 * 1024  # bytes


class _UnreadableError(Exception):
    """A value that cannot be read. The message follows the key."""


def read(operation: Operation, arguments: Sequence[str]) -> dict[str, str]:
    """Return the parameters by key. Raises ParameterError with all mistakes in the arguments."""
    values: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    from_stdin: str | None = None
    for number, argument in enumerate(arguments, 1):
        key, equals, value = argument.partition("=")
        if not equals or not key:
            problems.append((f"argument {number}", "must be key=value"))
        elif key in values:
            problems.append((key, "is set twice (remove one)"))
        elif value == STDIN and from_stdin is not None:
            problems.append((key, f"cannot be read from standard input, like {from_stdin} (use a file: @path)"))
        else:
            from_stdin = key if value == STDIN else from_stdin
            try:
                values[key] = _value(value, key, hidden=key in operation.secret)
            except _UnreadableError as error:
                problems.append((key, str(error)))
    if problems:
        raise errors.ParameterError(operation.name, problems)
    return values


def _value(value: str, key: str, *, hidden: bool) -> str:
    if value == STDIN:
        if hidden and sys.stdin.isatty():
            return getpass.getpass(f"{key}: ")
        return _text(sys.stdin.buffer, "standard input")
    if value.startswith(FILE * 2):
        return value.removeprefix(FILE)
    if value.startswith(FILE):
        path = value.removeprefix(FILE)
        try:
            with open(os.path.expanduser(path), "rb") as file:  # noqa: PTH111, PTH123 - a Path would normalize the name
                return _text(file, "the file")
        except OSError as error:
            reason = f"cannot be read: {error.strerror} (write a text that begins with @ as @@)"
            raise _UnreadableError(reason) from None
    return value


def _text(file: BinaryIO, source: str) -> str:
    """Return the whole text without the final line break that editors and ``echo`` add."""
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise _UnreadableError(f"cannot be read: {source} is larger than {LARGEST} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _UnreadableError(f"cannot be read: {source} is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
