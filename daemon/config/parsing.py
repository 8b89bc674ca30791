"""The conversion of bytes to YAML nodes, with syntax errors in plain words and without text of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    import re

    from daemon.config.document import Mark, Tree

# Part of the parser's message; whether the mistake is where the parser noticed it or where that began; our words.
PROBLEMS: tuple[tuple[str, bool, str], ...] = (
    (r"character '\t'", True, "a tab (indent with spaces)"),
    ("cannot start any token", True, "a text that begins with a special character (put it in quotes)"),
    (
        "mapping values are not allowed",
        True,
        'unexpected colon (check for a missing colon on the line above, or put a text with ": " in quotes)',
    ),
    ("could not find expected ':'", False, "missing colon after a key"),
    ("or '}', but got '{'", True, 'unexpected brace (in braces, put ${…} in quotes: {key: "${NAME}"})'),
    ("or ']', but got '{'", True, 'unexpected brace (in brackets, put ${…} in quotes: ["${NAME}"])'),
    ("expected ',' or '}'", False, "unclosed brace { or missing comma"),
    ("expected ',' or ']'", False, "unclosed bracket [ or missing comma"),
    ("<stream end>", False, "unclosed brace or bracket"),
    ("unexpected end of stream", False, "unclosed quotes"),
    ("<block end>", True, "a line that is indented differently from those above it"),
    ("sequence entries are not allowed", True, "unexpected list item (check the indentation)"),
    ("another document", True, "a second document (remove the line ---)"),
    (" alias", True, "a text that begins with * (put it in quotes)"),
    ("escape", True, "a backslash in double quotes (use single quotes)"),
)


class _Loader(yaml.SafeLoader):
    """A loader that resolves no scalars: ``_Builder`` does."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's way


def text_of(content: bytes, tree: Tree) -> str | None:
    """Return the file as text, or None after a mistake."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        tree.mistake_at((line, 0), "not valid YAML: this line is not valid UTF-8")
        return None


def parse(text: str, tree: Tree) -> yaml.Node | None:
    """Return the node of the whole document, or None if it is empty or invalid."""
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
        tree.mistake((), "is nested too deeply (check for brackets in brackets)")
    return None


def _explained(error: yaml.MarkedYAMLError) -> tuple[Mark, str]:
    """Return the position of a syntax error and a description without text of the file."""
    message = f"{error.context}: {error.problem}"
    marks = [error.problem_mark, error.context_mark]
    words = "syntax error (check the indentation, colons and quotes)"
    for text, where_noticed, description in PROBLEMS:
        if text in message:
            words = description
            marks = marks if where_noticed else marks[::-1]
            break
    mark = marks[0] or marks[1]
    return ((mark.line + 1, mark.column) if mark else (1, 0)), words
