"""From the file to plain values, with the place that each value came from.

YAML as version 1.2 has it: only true and false are booleans, dates are texts, a key is text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from daemon.config.references import replaced
from daemon.config.tree import Mark, Place, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST_FILE = 1024 * 1024
MOST_VALUES = 100_000
DEEPEST = 20
LONGEST_NUMBER = 18
TEXT, MAPPING, SEQUENCE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))
NULL = re.compile(r"~|null|Null|NULL|")
BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
WHOLE = re.compile(r"[-+]?[0-9]+")
FLOATING = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

# What the parser says, whether it happened where the parser noticed it or where that began, and our words.
PROBLEMS: tuple[tuple[str, bool, str], ...] = (
    (r"character '\t'", True, "a tab (indent with spaces)"),
    ("cannot start any token", True, "a text that begins with a special character (put it in quotes)"),
    (
        "mapping values are not allowed",
        True,
        'a colon where none can be (does the line above lack one, or a text with ": " its quotes?)',
    ),
    ("could not find expected ':'", False, "a key without its colon"),
    ("or '}', but got '{'", True, 'a brace too many (in braces, put ${…} in quotes: {key: "${NAME}"})'),
    ("or ']', but got '{'", True, 'a brace too many (in brackets, put ${…} in quotes: ["${NAME}"])'),
    ("expected ',' or '}'", False, "a brace { that is not closed, or a comma that is missing after it"),
    ("expected ',' or ']'", False, "a bracket [ that is not closed, or a comma that is missing after it"),
    ("<stream end>", False, "a brace or bracket that is not closed"),
    ("unexpected end of stream", False, "quotes that are not closed"),
    ("<block end>", True, "a line that is indented differently from those above it"),
    ("sequence entries are not allowed", True, "a list item (-) where there can be none (check the indentation)"),
    ("another document", True, "a second document (remove the line ---)"),
    (" alias", True, "a text that begins with * (put it in quotes)"),
    ("escape", True, "a backslash in double quotes (use single quotes)"),
)


class _Loader(yaml.SafeLoader):
    """Resolves nothing by itself: ``_Builder`` knows what a plain scalar is."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's way


def read(path: Path, environ: Mapping[str, str]) -> Tree:
    """The file with every reference replaced. It has no values if it cannot be used at all."""
    tree = Tree(str(path))
    content = _content(path, tree)
    node = _parse(content, tree) if content is not None else None
    if tree.mistakes:
        return tree
    if node is None or not node.value:
        tree.mistake((), "is empty (begin with a copy of config.example.yaml)")
    elif not isinstance(node, yaml.MappingNode):
        tree.mistake((), "holds no sections such as connections, targets and triggers (see config.example.yaml)")
    else:
        builder = _Builder(tree, environ)
        values = builder.build(node, ())
        tree.values = {} if builder.is_full else values
    return tree


def _content(path: Path, tree: Tree) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        tree.mistake((), f"cannot be read: {error.strerror}")
        return None
    if len(content) > LARGEST_FILE:
        tree.mistake((), f"is larger than {LARGEST_FILE} bytes")
        return None
    return content


def _parse(content: bytes, tree: Tree) -> yaml.Node | None:
    node: yaml.Node | None = None
    try:
        loader = _Loader(content)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark, words = _explained(error)
        tree.mistake_at(mark, f"not valid YAML: {words}")
    except (yaml.YAMLError, UnicodeDecodeError):
        tree.mistake((), "not valid YAML: the file must be text in UTF-8, without control characters")
    except RecursionError:
        tree.mistake((), "holds too much in one another (are there brackets in brackets?)")
    return node


def _explained(error: yaml.MarkedYAMLError) -> tuple[Mark, str]:
    """Where the YAML is wrong, and what the parser means; what it quotes from the file stays unsaid."""
    said = f"{error.context}: {error.problem}"
    marks = [error.problem_mark, error.context_mark]
    words = "it cannot be understood (check the indentation, colons and quotes)"
    for text, where_noticed, meaning in PROBLEMS:
        if text in said:
            words = meaning
            marks = marks if where_noticed else marks[::-1]
            break
    mark = marks[0] or marks[1]
    return ((mark.line + 1, mark.column) if mark else (1, 0)), words


class _Builder:
    """Turns YAML's nodes into values, noting their places, and replacing references in texts."""

    def __init__(self, tree: Tree, environ: Mapping[str, str]) -> None:
        self._tree = tree
        self._environ = environ
        self._count = 0
        self.is_full = False

    def build(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - any value
        """The value of a node."""
        self._count += 1
        self._tree.marks.setdefault(place, _mark(node))
        if self.is_full:
            return None
        if self._count > MOST_VALUES or len(place) > DEEPEST:
            self.is_full = True
            self._tree.mistake_at(_mark(node), "the file holds too much (are there aliases in aliases?)")
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
            key = key_node.value
            inside = (*place, key)
            if key in values:
                first = self._tree.marks[inside][0]
                self._tree.marks[inside] = _mark(key_node)
                self._tree.mistake(inside, f"is given twice, first in line {first} (remove one)")
                continue
            self._tree.marks[inside] = _mark(key_node)
            values[key] = self.build(value_node, inside)
        return values

    def _scalar(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - any value
        text: str = node.value
        if getattr(node, "style", None) is None:  # plain: without quotes
            if NULL.fullmatch(text):
                return None
            if BOOLEAN.fullmatch(text):
                return text.lower() == "true"
            if WHOLE.fullmatch(text) and len(text) <= LONGEST_NUMBER:
                return int(text)
            if FLOATING.fullmatch(text) and len(text) <= LONGEST_NUMBER:
                return float(text)
        return replaced(text, place, self._tree, self._environ)


def _mark(node: yaml.Node) -> Mark:
    return node.start_mark.line + 1, node.start_mark.column
