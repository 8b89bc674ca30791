"""The manual page pagerelay(1), from the help of the command line itself: ``python -m tests.documents.man_page``.

Only typer and pagerelay are needed, so that a package can be built without the development packages.
"""

from __future__ import annotations

import inspect
import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

import daemon
from daemon.cli import COMMANDS, app

if TYPE_CHECKING:
    from collections.abc import Iterator

DESCRIPTION = """pagerelay polls PagerDuty from behind a firewall, finds out what happened to incidents, and sends it as
signed webhooks to the systems that need it. It also carries out actions on PagerDuty from a queue."""
FILES = {
    "config.yaml": "The configuration, in the working directory; else /etc/pagerelay/config.yaml.",
    "pagerelay.env": "Environment variables beside the configuration: the secrets that it refers to.",
    "pagerelay.db": "The database, in the working directory, unless database.url says otherwise.",
}
ENVIRONMENT = {
    "PAGERELAY_CONFIG": "The configuration file, if --config does not name one.",
    "PAGERELAY_ENV_FILE": "Another file instead of pagerelay.env.",
    "PAGERELAY_<SECTION>__<KEY>": "A value that replaces the one in the configuration.",
    "NO_COLOR": "If set, nothing is printed in colour.",
}
STATUS = {
    "0": "Success.",
    "1": "The command failed, and said why in one line.",
    "2": "Wrong use, a mistake in the configuration, or a database that somebody must change first.",
}


def page() -> str:
    """Return the manual page, in the macros of man(7)."""
    root, context = _root()
    day = datetime.fromtimestamp(float(os.environ.get("SOURCE_DATE_EPOCH", time.time())), tz=UTC).date()
    parts = [f'.TH PAGERELAY 1 "{day}" "pagerelay {daemon.__version__}" "User Commands"']
    parts += [".SH NAME", r"pagerelay \- PagerDuty in, signed webhooks out"]
    parts += [".SH SYNOPSIS", r".B pagerelay", _escaped("[OPTIONS] COMMAND [ARGS]...")]
    parts += [".SH DESCRIPTION", _escaped(" ".join(DESCRIPTION.split()))]
    parts += [".SH OPTIONS", *_records(root, context), ".SH COMMANDS"]
    for path, command, here in commands():
        parts += [f".SS {_escaped(path)}", *_paragraphs(command.help or "")]
        parts += [".PP", f"Usage: {_escaped(path)} {_escaped(' '.join(command.collect_usage_pieces(here)))}"]
        parts += _records(command, here)
    for title, entries in ("EXIT STATUS", STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES):
        parts += [f".SH {title}", *_entries(entries.items())]
    return "\n".join(parts) + "\n"


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Yield each command with the words that call it and a context; groups only as the commands in them."""
    root, context = _root()
    for name in COMMANDS:
        _, command, _ = root.resolve_command(context, [name])
        yield from _leaves(f"pagerelay {name}", command, context)


def options(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    """Yield what the help says about each option and argument; ``--help`` is described once."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and (parameter.name != "help" or context.parent is None):
            yield record


def _root() -> tuple[Any, Any]:
    command: Any = typer.main.get_command(app)
    return command, type(command).context_class(command, info_name="pagerelay", **command.context_settings)


def _leaves(path: str, command: Any, parent: Any) -> Iterator[tuple[str, Any, Any]]:
    context = type(command).context_class(command, info_name=path.rpartition(" ")[2], parent=parent)
    if not hasattr(command, "commands"):
        yield path, command, context
        return
    for name, each in command.commands.items():
        yield from _leaves(f"{path} {name}", each, context)


def _records(command: Any, context: Any) -> list[str]:
    return _entries(options(command, context))


def _entries(pairs: Any) -> list[str]:
    return [
        line for name, text in pairs for line in (".TP", rf"\fB{_escaped(name)}\fR", _escaped(_joined(text) or "-"))
    ]


def _paragraphs(text: str) -> list[str]:
    paragraphs = [_joined(part) for part in inspect.cleandoc(text.replace("\b", "")).split("\n\n")]
    return [line for number, each in enumerate(paragraphs) for line in ([".PP"] if number else []) + [_escaped(each)]]


def _joined(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    """Return text in which roff finds nothing to obey."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(page())
