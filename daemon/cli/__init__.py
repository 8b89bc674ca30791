"""The command line. What it prints is for people, and with ``--json`` for programs.

Commands are declared in ``commands``; what each of them needs is imported when it runs.
"""

from __future__ import annotations

from daemon.cli.commands import app, main

__all__ = ["app", "main"]
