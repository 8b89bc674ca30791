"""The upgrade of an old schema when the daemon starts, with its progress in the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from daemon import text
from daemon.storage.database import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.storage.database import Database

log = structlog.get_logger()


class SchemaUpgrade:
    """One upgrade, which runs in a thread. Each revision is logged, and whoever waits can log for how long it runs."""

    def __init__(self, watch: Callable[[], float] = time.monotonic) -> None:
        self._watch = watch
        self._began_at: float | None = None
        self._revision: str | None = None

    def run(self, database: Database) -> None:
        """Upgrade the schema, if it is not this version's. Raises DatabaseError."""
        self._revision = database.version()
        if self._revision != HEAD:
            self._began_at = self._watch()
        try:
            database.upgrade(self._report)
        finally:
            self._began_at = None

    def tick(self) -> None:
        """Log that the upgrade goes on, if it does."""
        if self._began_at is not None:
            took = text.span(self._watch() - self._began_at)
            log.info("schema.upgrading", revision=self._revision, target=HEAD, working_for=took)

    def _report(self, revision: str) -> None:
        self._revision = revision
        log.info("schema.upgraded", revision=revision, target=HEAD)
