"""The configuration as plain values with their origins, and the mistakes in it.

A mistake is one line of text with file, line and key. It contains a value only after an explicit check: any value may
be a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias

from daemon.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

Place: TypeAlias = tuple[str | int, ...]
Mark: TypeAlias = tuple[int, int]

MOST_SHOWN = 9
LONGEST_SHOWN = 60
KEY = re.compile(r"[A-Za-z0-9_.<-]{1,60}")
LIKENESS = 0.6


@dataclass
class Tree:
    """The values and their origins: ``marks`` are lines and columns, ``variables`` the names of overriding variables.

    ``origins`` are the lines of variables in the file of variables, ``sources`` those that values refer to.
    ``computed`` are the places whose text contained a reference such as ``${NAME}``, ``blamed`` those with a mistake.
    """

    file: str
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    marks: dict[Place, Mark] = field(default_factory=dict)
    variables: dict[Place, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    sources: dict[Place, str] = field(default_factory=dict)
    computed: set[Place] = field(default_factory=set)
    blamed: set[Place] = field(default_factory=set)
    mistakes: list[tuple[Mark, str]] = field(default_factory=list)

    def mistake(self, place: Place, what: str) -> None:
        """Record a mistake, with the line of the place or of the nearest enclosing one that has a line.

        Only the first mistake of a place is recorded: the others follow from it.
        """
        if place in self.blamed:
            return
        self.blamed.add(place)
        path = f"{dotted(place)}: " if place else ""
        what += f" [its value is in {self.sources[place]}]" if place in self.sources else ""
        for end in range(len(place), -1, -1):
            if place[:end] in self.variables:
                self.mistake_of_variable(self.variables[place[:end]], path + what)
                return
            if place[:end] in self.marks:
                self.mistake_at(self.marks[place[:end]], path + what)
                return
        self.mistakes.append(((0, 0), printable(f"{self.file}: {path}{what}")))

    def mistake_at(self, mark: Mark, what: str) -> None:
        """Record a mistake at a line of the file."""
        self.mistakes.append((mark, printable(f"{self.file}:{mark[0]}: {what}")))

    def mistake_of_variable(self, variable: str, what: str) -> None:
        """Record a mistake in a variable that overrides the file."""
        origin = f"{self.origins[variable]}:" if variable in self.origins else "environment variable"
        self.mistakes.append(((0, 0), printable(f"{origin} {variable}: {what}")))

    def mistake_in(self, file: Path, line: int, what: str) -> None:
        """Record a mistake in the file of variables, at a line or about the whole file."""
        place = f"{file}:{line}" if line else str(file)
        self.mistakes.append(((0, line), printable(f"{place}: {what}")))

    def lines(self) -> list[str]:
        """Return the mistakes in the file's order, those of the environment first."""
        return [text for _, text in sorted(dict.fromkeys(self.mistakes))]

    def is_written(self, place: Place) -> bool:
        """Return whether the value is literally in the file: only such a value may be shown."""
        return place in self.marks and place not in self.computed and place not in self.variables

    def value(self, place: Place) -> Any:  # noqa: ANN401 - any value
        """Return the value at a place, or None."""
        here: Any = self.values
        for part in place:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                return None
        return here


def dotted(place: Place) -> str:
    """Return a place as a path such as ``triggers.paged.to[0]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{printable_key(part)}" if text else printable_key(part)
    return text


def printable_key(key: str) -> str:
    """Return a key or name, or ``…`` if it does not look like one: in a garbled file it may be a secret."""
    return key if KEY.fullmatch(key) else "…"


def hint(name: str, known: Collection[str]) -> str:
    """Return `` (did you mean "x"?)`` if a known name is similar, else the known names."""
    near = nearest(name, known)
    return listed(known) if near is None else f' (did you mean "{near}"?)'


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the most similar known name, or None."""
    if len(name) > LONGEST_SHOWN:
        return None
    return next(iter(get_close_matches(name, filter(KEY.fullmatch, known), n=1, cutoff=LIKENESS)), None)


def listed(known: Collection[str]) -> str:
    """Return `` (known: …)`` with the first known names, or nothing if there are none."""
    more = ", …" if len(known) > MOST_SHOWN else ""
    return f" (known: {', '.join(printable_key(each) for each in list(known)[:MOST_SHOWN])}{more})" if known else ""
