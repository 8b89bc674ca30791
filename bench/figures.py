"""Results of alternating runs, and their output."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of two alternatives, in pairs of runs made one right after the other."""

    pairs: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Iterable[tuple[T, T]], figure: Callable[[T], float]) -> Ratio:
        """Return the ratio of each pair's first run to its second."""
        return cls(tuple(figure(one) / figure(other) for one, other in pairs))

    def __str__(self) -> str:
        """Return the median with minimum and maximum."""
        return f"{statistics.median(self.pairs):.2f}  (min {min(self.pairs):.2f}, max {max(self.pairs):.2f})"


def show(title: str, *rows: tuple[str, object]) -> None:
    """Print a heading and its results."""
    print(f"\n{title}")
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
