"""From bytes to YAML's nodes, with plain words for what is not YAML; what the parser quotes stays unsaid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    import re

    from daemon.config.document import Mark, Tree

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


def text_of(content: bytes, tree: Tree) -> str | None:
    """The file as text."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        tree.mistake_at((line, 0), "not valid YAML: this line is not text in UTF-8")
        return None


def parse(text: str, tree: Tree) -> yaml.Node | None:
    """The node of the whole document; None if there is nothing, or nothing that can be understood."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark, words = _explained(error)
        tree.mistake_at(mark, f"not valid YAML: {words}")
    except yaml.reader.ReaderError as error:
        tree.mistake_at((text.count("\n", 0, error.position) + 1, 0), "not valid YAML: a control character (remove it)")
    except RecursionError:
        tree.mistake((), "holds too much in one another (are there brackets in brackets?)")
    return None


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
