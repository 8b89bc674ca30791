"""The exports of traces, which outlive a reload."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.runtime import tracing

if TYPE_CHECKING:
    from daemon.runtime.tracing import Tracing
    from daemon.settings import Traces


class Exports:
    """The exports of this process: one for each setting of traces that was in force."""

    def __init__(self) -> None:
        self._started: dict[Traces, Tracing] = {}

    def of(self, settings: Traces | None) -> Tracing | None:
        """Return the export with these settings, or None if there is none; start it if it is new."""
        if settings is None:
            return None
        if settings not in self._started:
            variables = {name: value.get_secret_value() for name, value in settings.variables}
            self._started[settings] = tracing.start(variables)
        return self._started[settings]

    async def close(self) -> None:
        """Export the last spans."""
        await asyncio.gather(*(asyncio.to_thread(each.close) for each in self._started.values()))
