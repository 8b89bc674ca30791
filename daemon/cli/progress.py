"""The progress of long work on stderr: a bar on a terminal, otherwise a line every ten seconds."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING

from daemon import text
from daemon.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPORT_SECONDS = 10.0


@contextlib.contextmanager
def shown(what: str, total: int | None = None, *, begun: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how far ``what`` has come; yield the function that is called with how much is done.

    Without ``total`` nobody knows how much there is to do. ``begun`` was done before.
    """
    if sys.stderr.isatty():
        with _bar(what, total) as update:
            yield update
        return
    lines, ended = Lines(what, total, begun), threading.Event()
    ticking = threading.Thread(target=lines.tick_until, args=(ended,), daemon=True)
    ticking.start()
    try:
        yield lines.update
    finally:
        ended.set()
        ticking.join()


class Lines:
    """Prints a line at most every ten seconds, and every ten seconds while a single step takes long."""

    def __init__(self, what: str, total: int | None, begun: int) -> None:
        self._what = what
        self._total = total
        self._begun = self._done = begun
        self._began_at = self._reported_at = time.monotonic()

    def tick_until(self, ended: threading.Event) -> None:
        """Print lines while nobody calls ``update``."""
        while not ended.wait(REPORT_SECONDS):
            self.tick()

    def tick(self) -> None:
        """Print for how long the work has been going on, unless something was printed just now."""
        now = time.monotonic()
        if now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        of_total = "" if self._total is None else f" of {self._total:,}"
        terminal.note(f"{self._what}: {self._done:,}{of_total}, still working after {text.span(now - self._began_at)}")

    def update(self, done: int) -> None:
        """Print how far the work has come, unless that was printed just now."""
        self._done = done
        now = time.monotonic()
        if now - self._reported_at < REPORT_SECONDS or (self._total is not None and done >= self._total):
            return
        self._reported_at = now
        if self._total is None:
            terminal.note(f"{self._what}: {done:,} so far")
            return
        left = text.left(done - self._begun, self._total - self._begun, now - self._began_at)
        terminal.note(f"{self._what}: {done:,} of {self._total:,}, {left}")


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    # The spinner and the elapsed time show that a single long step is under way.
    left = () if total is None else (TimeRemainingColumn(),)
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, *left, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def update(done: int) -> None:
            bar.update(task, completed=done)

        yield update
