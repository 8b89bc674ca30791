"""The configuration as plain values that know where they came from, and the mistakes found in it.

A mistake names file, line and key in one line of text. None shows a value unless somebody
decided that it may be shown: any value may be a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias

from daemon.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection

Place: TypeAlias = tuple[str | int, ...]
Mark: TypeAlias = tuple[int, int]

MOST_SHOWN = 9
LONGEST_SHOWN = 60
KEY = re.compile(r"[A-Za-z0-9_.<-]{1,60}")
LIKENESS = 0.6


@dataclass
class Tree:
    """The values, and where each came from: ``marks`` are line and column, ``variables`` are overrides.

    ``computed`` are the places whose text held a reference such as ``${NAME}``.
    """

    file: str
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    marks: dict[Place, Mark] = field(default_factory=dict)
    variables: dict[Place, str] = field(default_factory=dict)
    computed: set[Place] = field(default_factory=set)
    blamed: set[Place] = field(default_factory=set)
    mistakes: list[tuple[Mark, str]] = field(default_factory=list)

    def mistake(self, place: Place, what: str) -> None:
        """Note a mistake, with the line of the place or of the nearest one around it that has a line.

        A place is blamed once: what follows from a mistake is not another one.
        """
        if place in self.blamed:
            return
        self.blamed.add(place)
        path = f"{dotted(place)}: " if place else ""
        for end in range(len(place), -1, -1):
            if place[:end] in self.variables:
                self.mistake_of_variable(self.variables[place[:end]], path + what)
                return
            if place[:end] in self.marks:
                self.mistake_at(self.marks[place[:end]], path + what)
                return
        self.mistakes.append(((0, 0), printable(f"{self.file}: {path}{what}")))

    def mistake_at(self, mark: Mark, what: str) -> None:
        """Note a mistake at a line of the file."""
        self.mistakes.append((mark, printable(f"{self.file}:{mark[0]}: {what}")))

    def mistake_of_variable(self, variable: str, what: str) -> None:
        """Note a mistake in a variable that overrides the file."""
        self.mistakes.append(((0, 0), printable(f"environment variable {variable}: {what}")))

    def lines(self) -> list[str]:
        """The mistakes in the file's order, those of the environment first."""
        return [text for _, text in sorted(dict.fromkeys(self.mistakes))]

    def is_written(self, place: Place) -> bool:
        """Whether the value stands in the file as it is: only such a value may be shown."""
        return place in self.marks and place not in self.computed and place not in self.variables

    def value(self, place: Place) -> Any:  # noqa: ANN401 - any value
        """The value at a place; None if there is none."""
        here: Any = self.values
        for part in place:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                return None
        return here


def dotted(place: Place) -> str:
    """A place as people write it: ``triggers.paged.to[0]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{named(part)}" if text else named(part)
    return text


def named(key: str) -> str:
    """A key or name, unless it looks like none: when lines were mixed up, a secret may be in it."""
    return key if KEY.fullmatch(key) else "…"


def hint(wrong: str, known: Collection[str]) -> str:
    """`` (did you mean "x"?)`` if something known is like it, else what is known."""
    near = nearest(wrong, known)
    return listed(known) if near is None else f' (did you mean "{near}"?)'


def nearest(wrong: str, known: Collection[str]) -> str | None:
    """What is known and like it."""
    if len(wrong) > LONGEST_SHOWN:
        return None
    return next(iter(get_close_matches(wrong, filter(KEY.fullmatch, known), n=1, cutoff=LIKENESS)), None)


def listed(known: Collection[str]) -> str:
    """`` (known: …)``: the first few of what is known; nothing if nothing is."""
    more = ", …" if len(known) > MOST_SHOWN else ""
    return f" (known: {', '.join(named(each) for each in list(known)[:MOST_SHOWN])}{more})" if known else ""
