"""The progress of reading a log after a downtime."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from daemon import text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

log = structlog.get_logger()

REPORT_SECONDS = 10.0


class CatchUp:
    """Logs, at once and then every ten seconds, how far one poll has read the log from ``since`` to ``end``."""

    def __init__(
        self, connection: str, since: datetime, end: datetime, watch: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._since = since
        self._end = end
        self._watch = watch
        self._began_at = watch()
        self._reported_at: float | None = None

    def report(self, read_up_to: datetime) -> None:
        """Log how far reading has come, unless that was logged just now."""
        now = self._watch()
        if self._reported_at is not None and now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        done, total = (each.total_seconds() for each in (read_up_to - self._since, self._end - self._since))
        log.info(
            "log.catching_up",
            connection=self._connection,
            read_up_to=read_up_to,
            done=f"{done / total:.0%}",
            behind=text.span(total - done),
            estimate=text.left(done, total, now - self._began_at),
        )
