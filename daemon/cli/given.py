"""An action's parameters as the command line gives them: ``key=value``, ``key=@file`` or ``key=-`` for standard input.

A value from a file or from standard input never stands in the list of processes. No value is repeated in an error.
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
LARGEST = 256 * 1024


class _CannotRead(Exception):
    """Nobody's error but this module's: why a value cannot be read, to follow its key."""


def read(operation: Operation, arguments: Sequence[str]) -> dict[str, str]:
    """The parameters by key. Raises ParameterError with all that is wrong with how they are given."""
    found: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    from_stdin: str | None = None
    for number, argument in enumerate(arguments, 1):
        key, equals, value = argument.partition("=")
        if not equals or not key:
            problems.append((f"argument {number}", "must be key=value"))
        elif key in found:
            problems.append((key, "is given twice"))
        elif value == STDIN and from_stdin is not None:
            problems.append((key, f"cannot come from standard input: {from_stdin} does"))
        else:
            from_stdin = key if value == STDIN else from_stdin
            try:
                found[key] = _value(value, key, hidden=key in operation.secret)
            except _CannotRead as why:
                problems.append((key, str(why)))
    if problems:
        raise errors.ParameterError(operation.name, problems)
    return found


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
            with open(os.path.expanduser(path), "rb") as file:  # noqa: PTH111, PTH123 - a Path would tidy the name up
                return _text(file, "the file")
        except OSError as error:
            why = f"cannot be read: {error.strerror} (text that begins with @ is written @@)"
            raise _CannotRead(why) from None
    return value


def _text(file: BinaryIO, what: str) -> str:
    """All of it, without the line's end that editors and ``echo`` put behind it."""
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise _CannotRead(f"cannot be read: {what} has more than {LARGEST} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _CannotRead(f"cannot be read: {what} is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
