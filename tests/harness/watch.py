"""A monotonic clock that is set by hand."""

from __future__ import annotations


class Watch:
    """Returns ``seconds``, which a test changes."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds
