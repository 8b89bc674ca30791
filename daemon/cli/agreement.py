"""The comparison of a command's configuration with the running daemon's, and a warning if they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import daemon
from daemon.cli import terminal

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.storage.database import Database


def check(settings: Settings, config_hash: str | None, place: str) -> bool:
    """Return whether a daemon has this configuration, after a warning on stderr if not. Without a hash, it has."""
    from daemon.settings import fingerprint

    if config_hash is None or config_hash == fingerprint(settings):
        return True
    terminal.note(
        f"warning: {settings.files}: the daemon {place} runs with a different configuration"
        " (restart it if the files are newer, else use its files and environment variables)"
    )
    return False


def check_in(database: Database, settings: Settings) -> None:
    """Compare with the running daemons that are of this version: other versions may have other keys."""
    from daemon.views import overview

    def look(tx: sa.Connection) -> tuple[overview.Instance, ...]:
        return overview.live_instances(tx, database.now(tx))

    for each in database.read_now(look):
        if each.version == daemon.__version__ and not check(settings, each.config_hash, f"on {each.hostname}"):
            return
