"""Charts as SVG, made here: pure functions of numbers. A table with the same numbers stands beside each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from daemon import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

WIDTH, HEIGHT = 480, 110
LEFT, BOTTOM = 34, 16  # room for the axes' labels
SPARK_WIDTH, SPARK_HEIGHT = 100, 24
STEPS = (1, 2, 5)
LONGEST_DASH = 24
LINES = ("line", "line second")  # the classes of the first line and the second one


def bars(
    label: str, starts: Sequence[datetime], lower: Sequence[int], upper: Sequence[int] = (), style: str = ""
) -> Markup:
    """Return stacked bars: ``lower`` in the class ``style``, ``upper`` (such as failures) on top in red."""
    upper = upper or [0] * len(lower)
    top = ceiling(max((one + other for one, other in zip(lower, upper, strict=True)), default=0))
    step = (WIDTH - LEFT) / max(len(lower), 1)
    parts = [_axes(top, starts, step)]
    for index, (one, other) in enumerate(zip(lower, upper, strict=True)):
        x = LEFT + index * step + step * 0.12
        parts.append(_bar(x, step * 0.76, 0, one, top, style))
        parts.append(_bar(x, step * 0.76, one, other, top, "bad"))
    return _svg("chart", WIDTH, HEIGHT, label, parts)


def lines(
    label: str, starts: Sequence[datetime], *series: Sequence[float | None], styles: Sequence[str] = LINES
) -> Markup:
    """Return a line for each series in its class; where a value is missing, the line has a gap."""
    top = ceiling(max((value for values in series for value in values if value is not None), default=0))
    step = (WIDTH - LEFT) / max(len(starts), 1)
    parts = [_axes(top, starts, step)]
    for style, values in zip(styles, series, strict=False):
        heights = (None if value is None else _y(value, top) for value in values)
        points = [(LEFT + (index + 0.5) * step, y) for index, y in enumerate(heights)]
        parts.append(_path(style, points, min(step / 2, LONGEST_DASH)))
    return _svg("chart", WIDTH, HEIGHT, label, parts)


def spark(label: str, lower: Sequence[int], upper: Sequence[int] = (), style: str = "good") -> Markup:
    """Return small stacked bars without axes: ``lower`` in the class ``style``, ``upper`` on top in red."""
    upper = upper or [0] * len(lower)
    top = max((one + other for one, other in zip(lower, upper, strict=True)), default=0) or 1
    step = SPARK_WIDTH / max(len(lower), 1)
    parts = [_base()]
    for index, (one, other) in enumerate(zip(lower, upper, strict=True)):
        for base, value, name in ((0, one, style), (one, other, "bad")):
            if value:
                height = max(value / top * (SPARK_HEIGHT - 1), 1)
                y = SPARK_HEIGHT - 1 - base / top * (SPARK_HEIGHT - 1) - height
                parts.append(_rectangle(index * step + 0.4, max(y, 0), step - 0.8, height, name))
    return _svg("spark", SPARK_WIDTH, SPARK_HEIGHT, label, parts)


def spark_line(label: str, *series: Sequence[float | None], top: float | None = None) -> Markup:
    """Return a small line for each series, without axes; where a value is missing, it has a gap.

    Their top is the largest value.
    """
    top = top or max((value for values in series for value in values if value is not None), default=0) or 1
    parts = [_base()]
    for style, values in zip(LINES, series, strict=False):
        step = SPARK_WIDTH / max(len(values), 1)
        heights = (None if value is None else 1 + (1 - value / top) * (SPARK_HEIGHT - 2) for value in values)
        points = [((index + 0.5) * step, y) for index, y in enumerate(heights)]
        parts.append(_path(style, points, min(step / 2, LONGEST_DASH)))
    return _svg("spark", SPARK_WIDTH, SPARK_HEIGHT, label, parts)


def ceiling(value: float) -> float:
    """Return the smallest round number that is not below a value, at least 1."""
    size = 1
    while True:
        for step in STEPS:
            if step * size >= value:
                return step * size
        size *= 10


def _base() -> Markup:
    y = SPARK_HEIGHT - 0.5  # half a line above the edge, which would cut it off
    line = f'<line class="axis" x1="0" x2="{SPARK_WIDTH}" y1="{y}" y2="{y}"/>'
    return Markup(line)  # noqa: S704 - a constant


def _axes(top: float, starts: Sequence[datetime], step: float) -> Markup:
    parts = []
    for part in (0, 0.5, 1):
        y, value = _y(part * top, top), part * top
        if not float(value).is_integer():
            continue  # what is counted is whole
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        amount = f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"  # noqa: PLR2004 - kilo
        parts.append(f'<text x="{LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{amount}</text>')
    for index, start in list(enumerate(starts))[:: max(len(starts) // 6, 1)]:
        place = f'x="{LEFT + (index + 0.5) * step:.1f}" y="{HEIGHT - 3}"'
        parts.append(f'<text {place} text-anchor="middle" data-hour="{text.iso(start)}">{start:%H:%M}</text>')
    return Markup("".join(parts))  # noqa: S704 - numbers and times; Markup.format takes ten times as long


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - 8)


def _bar(x: float, width: float, base: float, value: float, top: float, style: str) -> Markup:
    if not value:
        return Markup("")
    scale = (HEIGHT - BOTTOM - 8) / top
    height = max(value * scale, 1)
    return _rectangle(x, HEIGHT - BOTTOM - base * scale - height, width, height, style)


def _rectangle(x: float, y: float, width: float, height: float, style: str) -> Markup:
    text = f'<rect class="bar {style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
    return Markup(text)  # noqa: S704 - numbers and a style of this module


def _path(style: str, points: Sequence[tuple[float, float | None]], dash: float) -> Markup:
    """Return a line through the points; one without neighbours is a dash, which can be seen."""
    commands = []
    for index, (x, y) in enumerate(points):
        if y is None:
            continue
        before, after = (0 <= place < len(points) and points[place][1] is not None for place in (index - 1, index + 1))
        if before:
            commands.append(f"L{x:.1f} {y:.1f}")
        elif after:
            commands.append(f"M{x:.1f} {y:.1f}")
        else:
            commands.append(f"M{x - dash / 2:.1f} {y:.1f}h{dash:.1f}")
    return Markup(f'<path class="{style}" d="{" ".join(commands)}"/>')  # noqa: S704 - as above


def _svg(style: str, width: int, height: int, label: str, parts: Sequence[Markup]) -> Markup:
    start = f'<svg class="{style}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return Markup(f"{start}{Markup('').join(parts)}</svg>")  # noqa: S704 - the label is escaped, the parts are Markup
