"""Loops that must go on whatever their work raises, without filling the log."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import structlog

from daemon import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger()


class Guard:
    """Logs ``<name>.failing`` once for each new reason, and ``<name>.recovered`` when the work succeeds again.

    ``fields`` are part of each line. ``failing`` is the reason of the last attempt, or None.
    """

    def __init__(self, name: str, **fields: object) -> None:
        self._failing_event = f"{name}.failing"
        self._recovered_event = f"{name}.recovered"
        self._fields = fields
        self.failing: str | None = None

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Log what the block raises instead of raising it, an unforeseen error with its traceback."""
        try:
            yield
        except errors.PagerelayError as error:
            if self._is_new(str(error)):
                log.error(self._failing_event, **self._fields, error=str(error))
        except Exception as error:  # a fault in one piece of work must not end the loop
            if self._is_new(f"{type(error).__name__}: {error}"):
                log.exception(self._failing_event, **self._fields, error=f"unexpected {type(error).__name__}")
        else:
            if self.failing is not None:
                log.info(self._recovered_event, **self._fields)
            self.failing = None

    def _is_new(self, reason: str) -> bool:
        before, self.failing = self.failing, reason
        return reason != before
