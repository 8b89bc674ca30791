"""What goes wrong in a command, in plain lines on stderr and as an exit code: never a traceback, never a secret."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from daemon import errors
from daemon.cli import show as terminal

FAILED = 1
WRONG_USE = 2
MUST_BE = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_parsing": "a number",
    "greater_than_equal": "{ge:g} at least",
    "less_than_equal": "{le:g} at most",
}


class Commands(TyperGroup):
    """The commands, with errors told in words. Wrong options are typer's to tell: exit code 2 as well."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own class, which it does not export
        """Run the command that the arguments name."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except typer.BadParameter as wrong:
            told = _misunderstood(wrong)
            if told is None:
                raise
            _say(told)
            raise typer.Exit(WRONG_USE) from None
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except BrokenPipeError:
            _leave_stdout()
            raise typer.Exit(0) from None  # who read our output has had enough of it
        except errors.PagerelayError as error:
            _say(str(error))
            raise typer.Exit(_code(error)) from None
        except Exception as error:  # noqa: BLE001 - the last stop: nobody is to see a traceback unasked
            if ctx.params.get("traceback"):
                traceback.print_exc()
            else:
                _say(_unexpected(error))
            raise typer.Exit(FAILED) from None
        return result


def _code(error: errors.PagerelayError) -> int:
    return WRONG_USE if isinstance(error, errors.ConfigurationError | errors.UsageError) else FAILED


def _misunderstood(wrong: typer.BadParameter) -> str | None:
    """A value that its argument or option does not take, in our words; None for what typer says well itself."""
    from pydantic import ValidationError

    if not isinstance(wrong.__cause__, ValidationError) or wrong.param is None or wrong.ctx is None:
        return None
    found = wrong.__cause__.errors()[0]
    must_be = MUST_BE.get(found["type"])
    if must_be is None:
        return None
    name, limits = wrong.param.get_error_hint().strip("'"), found.get("ctx", {})
    given = terminal.plain(str(found["input"]))
    return f'{name} must be {must_be.format(**limits)}, not "{given}" (see: {wrong.ctx.command_path} --help)'


def _say(text: str) -> None:
    for line in text.splitlines():
        print(line, file=sys.stderr)


def _unexpected(error: Exception) -> str:
    """Where it happened, and not its text: that may hold anything."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{place} (pagerelay --traceback … shows more; please report it)"


def _leave_stdout() -> None:
    """Python flushes stdout once more at its end: into nothing."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
