"""The group of all commands: loads a command when it is named, and turns its errors into plain lines on stderr."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from daemon import errors
from daemon.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILED = 1
WRONG_USE = 2
MUST_BE = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_parsing": "a number",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
}


class Commands(TyperGroup):
    """Commands that are imported by need. An error is a line without a traceback or a secret, and an exit code."""

    table: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - typer's own arguments
        super().__init__(**attributes)
        for name, (_, summary) in self.table.items():
            self.add_command(TyperCommand(name=name, help=summary, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's own class, which it does not export
        """Load the named command, which was known by its name and summary only."""
        name = args[0] if args else ""
        if name in self.table:
            module, _, attribute = self.table[name][0].partition(":")
            command = getattr(importlib.import_module(f"daemon.cli.{module}"), attribute)
            self.add_command(typer.main.get_command(command), name)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Run the command. Typer itself reports unknown options, also with exit code 2."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except typer.BadParameter as error:
            message = _invalid_value(error)
            if message is None:
                raise
            _print(message)
            raise typer.Exit(WRONG_USE) from None
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except BrokenPipeError:
            _leave_stdout()
            raise typer.Exit(0) from None  # the reader of our output has seen enough
        except errors.PagerelayError as error:
            _print(str(error))
            raise typer.Exit(_exit_code(error)) from None
        except Exception as error:  # noqa: BLE001 - the last resort: nobody is to see a traceback unasked
            if ctx.params.get("traceback"):
                traceback.print_exc()
            else:
                _print(_unexpected(error))
            raise typer.Exit(FAILED) from None
        return result


def _exit_code(error: errors.PagerelayError) -> int:
    """Return 2 for an error that only a person can fix, so that a service manager does not retry for ever."""
    lasting = errors.ConfigurationError | errors.UsageError | errors.DatabaseUnsuitable
    return WRONG_USE if isinstance(error, lasting) else FAILED


def _invalid_value(error: typer.BadParameter) -> str | None:
    """Return one line for an invalid value of an argument or option, or None where typer's own message is better."""
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError) or error.param is None or error.ctx is None:
        return None
    details = error.__cause__.errors()[0]
    must_be = MUST_BE.get(details["type"])
    if must_be is None:
        return None
    name, limits = error.param.get_error_hint().strip("'"), details.get("ctx", {})
    value = terminal.plain(str(details["input"]))
    return f'{name} must be {must_be.format(**limits)}, not "{value}" (see: {error.ctx.command_path} --help)'


def _print(text: str) -> None:
    for line in text.splitlines():
        print(line, file=sys.stderr)


def _unexpected(error: Exception) -> str:
    """Return where it happened, but not the error's text, which may hold anything."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{place} (pagerelay --traceback … shows more; please report it)"


def _leave_stdout() -> None:
    """Point stdout at nothing, since Python flushes it once more at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
