"""Figures of runs that took turns, and how they are printed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ratio:
    """How one thing did against another, in pairs of runs, one right after the other."""

    pairs: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Iterable[tuple[T, T]], figure: Callable[[T], float]) -> Ratio:
        """The figure of each pair's first run, in parts of the second one's."""
        return cls(tuple(figure(one) / figure(other) for one, other in pairs))

    def __str__(self) -> str:
        """The median with the range around it."""
        return f"{statistics.median(self.pairs):.2f}  (min {min(self.pairs):.2f}, max {max(self.pairs):.2f})"


def show(title: str, *rows: tuple[str, object]) -> None:
    """Print a heading and what was found."""
    print(f"\n{title}")
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
