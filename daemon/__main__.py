"""``python -m daemon`` is the command ``pagerelay``."""

from __future__ import annotations

from daemon.cli import main

main()
