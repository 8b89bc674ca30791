"""The conversion of the file to plain values with their origins.

YAML 1.2: only true and false are booleans, dates and keys are strings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from daemon.config import parsing
from daemon.config.document import Mark, Place, Tree, dotted
from daemon.config.references import replaced

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEADER_VALUE = ("targets", "name", "headers", "name")
LARGEST_FILE = 1024 * 1024
MOST_VALUES = 100_000
DEEPEST = 20
LONGEST_NUMBER = 18
TEXT, MAPPING, SEQUENCE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))
NULL = re.compile(r"~|null|Null|NULL|")
BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
WHOLE = re.compile(r"[-+]?[0-9]+")
FLOATING = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def read(path: Path, environ: Mapping[str, str], tree: Tree) -> None:
    """Read the file into the tree and replace every reference. An unusable file has no values."""
    text = _text(path, tree)
    node = parsing.parse(text, tree) if text is not None else None
    if text is None or tree.mistakes:
        return
    if node is None or not node.value:
        tree.mistake((), "is empty (start from a copy of config.example.yaml)")
    elif not isinstance(node, yaml.MappingNode):
        tree.mistake((), "has no sections such as connections, targets and triggers (see config.example.yaml)")
    else:
        builder = _Builder(text, tree, environ)
        values = builder.build(node, ())
        tree.values = {} if builder.is_full else values


def _text(path: Path, tree: Tree) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        tree.mistake((), f"cannot be read: {error.strerror}")
        return None
    if len(content) > LARGEST_FILE:
        tree.mistake((), f"is larger than {LARGEST_FILE} bytes")
        return None
    return parsing.text_of(content, tree)


class _Builder:
    """A converter of YAML nodes to values, which records their positions and replaces references."""

    def __init__(self, text: str, tree: Tree, environ: Mapping[str, str]) -> None:
        self._text = text
        self._tree = tree
        self._environ = environ
        self._count = 0
        self.is_full = False

    def build(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - any value
        """Return the value of a node."""
        self._count += 1
        self._tree.marks.setdefault(place, _mark(node))
        if self.is_full:
            return None
        if self._count > MOST_VALUES or len(place) > DEEPEST:
            self.is_full = True
            self._tree.mistake_at(
                _mark(node), "the file is too large or too deeply nested (check for aliases in aliases)"
            )
            return None
        if node.tag not in {TEXT, MAPPING, SEQUENCE}:
            self._tree.mistake(place, "YAML tags have no meaning here (write the value itself)")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, number)) for number, item in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._tree.mistake_at(_mark(key_node), "a key must be text, not a list or a section")
                continue
            if self._is_bare(key_node, value_node):
                where = dotted(place) or "the file"
                self._tree.mistake_at(_mark(key_node), f"{where}: a text without a key (write key: value)")
                continue
            key = key_node.value
            inside = (*place, key)
            if key in values:
                first = self._tree.marks[inside][0]
                self._tree.marks[inside] = _mark(key_node)
                self._tree.mistake(inside, f"duplicate key, first on line {first} (remove one)")
                continue
            self._tree.marks[inside] = _mark(key_node)
            values[key] = self.build(value_node, inside)
        return values

    def _is_bare(self, key: yaml.Node, value: yaml.Node) -> bool:
        """Return whether the key is a text without a colon, as in ``{this}``: it may be a secret."""
        return (
            value.start_mark.index == value.end_mark.index
            and ":" not in self._text[key.end_mark.index : value.start_mark.index]
        )

    def _scalar(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - any value
        text: str = node.value
        if getattr(node, "style", None) is None:  # plain: without quotes
            if NULL.fullmatch(text):
                return None
            if BOOLEAN.fullmatch(text):
                return text.lower() == "true"
            if _is_sent(place):
                return replaced(text, place, self._tree, self._environ)
            if WHOLE.fullmatch(text) and len(text) <= LONGEST_NUMBER:
                return int(text)
            if FLOATING.fullmatch(text) and len(text) <= LONGEST_NUMBER:
                return float(text)
        return replaced(text, place, self._tree, self._environ)


def _is_sent(place: Place) -> bool:
    """Return whether a value is sent as it is written: ``0042`` in a header is not the number 42."""
    return len(place) == len(HEADER_VALUE) and (place[0], place[2]) == (HEADER_VALUE[0], HEADER_VALUE[2])


def _mark(node: yaml.Node) -> Mark:
    return node.start_mark.line + 1, node.start_mark.column
