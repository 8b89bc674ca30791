"""Results of alternating runs, and their output."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of two alternatives, in pairs of runs made one right after the other."""

    pairs: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Iterable[tuple[T, T]], figure: Callable[[T], float]) -> Ratio:
        """Return the ratio of each pair's first run to its second."""
        return cls(tuple(figure(one) / figure(other) for one, other in pairs))

    @property
    def median(self) -> float:
        """Return the median."""
        return statistics.median(self.pairs)

    def __str__(self) -> str:
        """Return the median with minimum and maximum."""
        return f"{self.median:.2f}  (min {min(self.pairs):.2f}, max {max(self.pairs):.2f})"


def load() -> str:
    """Return how busy the machine is. On a busy one, times describe its other work as well."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def show(title: str, *rows: tuple[str, object]) -> None:
    """Print a heading and its results."""
    print(f"\n{title}")
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")


ROW, LABEL, BAR, VALUE = 34, 190, 420, 70  # pixels


def bars(title: str, ratios: Mapping[str, Ratio]) -> str:
    """Return a bar chart as SVG: a bar of the median and a line from minimum to maximum for each name."""
    most = max(max(each.pairs) for each in ratios.values())
    height = ROW * (len(ratios) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LABEL + BAR + VALUE} {height}" role="img">',
        f"<title>{title}</title>",
        '<g font-family="sans-serif" font-size="14" fill="#24292f">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="8" y="22" font-weight="bold">{title}</text>',
    ]
    for number, (name, ratio) in enumerate(ratios.items(), start=1):
        top = ROW * number
        low, middle, high = (LABEL + BAR * value / most for value in (min(ratio.pairs), ratio.median, max(ratio.pairs)))
        colour = "#2563a8" if name.startswith("pagerelay") else "#8c959f"
        parts += [
            f'<text x="{LABEL - 8}" y="{top + 21}" text-anchor="end">{name}</text>',
            f'<rect x="{LABEL}" y="{top + 6}" width="{middle - LABEL:.1f}" height="{ROW - 12}" fill="{colour}"/>',
            f'<path d="M{low:.1f} {top + ROW / 2}H{high:.1f}" stroke="#24292f" stroke-width="1.5"/>',
            f'<text x="{high + 6:.1f}" y="{top + 21}">{ratio.median:.2f}</text>',
        ]
    return "\n".join([*parts, "</g>", "</svg>\n"])
