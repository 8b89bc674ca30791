"""A trigger's ``if``: a JMESPath expression on a message in the standard format. Pure.

It is compiled once, and limited in length, in depth, and in the steps per message.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import jmespath
from jmespath import exceptions
from jmespath.functions import Functions
from jmespath.lexer import Lexer
from jmespath.visitor import TreeInterpreter

from daemon import errors
from daemon.text import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.model import Json

LONGEST = 1000
DEEPEST = 40
MOST_STEPS = 5000
LARGEST_RESULT = 20_000  # values inside one that an expression builds
CHARACTERS_PER_VALUE = 50  # of a string, which counts as that many values
VALUES_PER_STEP = 20
FUNCTIONS: dict[str, Any] = Functions.FUNCTION_TABLE
MISPLACED = "unexpected character at position {} (texts go in 'quotes', numbers in `backticks`)"
ALL_AT_ROOT = {  # node types whose children are all evaluated on the same value
    "and_expression",
    "comparator",
    "function_expression",
    "key_val_pair",
    "multi_select_dict",
    "multi_select_list",
    "not_expression",
    "or_expression",
}


class Condition:
    """A compiled expression. Raises ConditionError if the expression is invalid."""

    def __init__(self, expression: str) -> None:
        self._tree = _parsed(expression)
        self._expression = expression
        self._interpreter = _Interpreter()

    def holds(self, document: Json) -> bool:
        """Return whether a message matches. Null, false, and empty strings, lists and objects do not match.

        Raises ConditionError if the expression cannot be evaluated for this message.
        """
        try:
            value = self._interpreter.run(self._tree, document)
        except exceptions.JMESPathTypeError as error:
            message = f"{error.function_name}() does not take {_article(error.actual_type)}"
            raise errors.ConditionError(message) from None
        except TypeError:
            raise errors.ConditionError("values of different types cannot be compared with <, <=, > or >=") from None
        except (ValueError, ArithmeticError, LookupError, AttributeError, RecursionError):
            raise errors.ConditionError("it cannot be evaluated") from None
        return not (value is None or value is False or value in ("", [], {}))

    def keys(self) -> set[tuple[str, ...]]:
        """Return the keys of the message that the expression uses: ``("type",)`` or ``("data", "incident")``."""
        return set(_keys(self._tree))

    def quoted_keys(self) -> set[str]:
        """Return the keys in double quotes, at any depth: often a string was meant."""
        tokens = Lexer().tokenize(self._expression)
        return {str(each["value"]) for each in tokens if each["type"] == "quoted_identifier"}


class _Interpreter(TreeInterpreter):
    """An interpreter that limits the number of steps and of items in new lists."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0

    def run(self, tree: Any, document: Json) -> Any:  # noqa: ANN401 - any JSON
        self._left = MOST_STEPS
        return self.visit(tree, document)

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's own
        self._spend(1)
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Any, value: Any) -> Any:  # noqa: ANN401 - the library's own
        items = super().visit_flatten(node, value)
        self._spend(len(items or ()))
        return items

    def visit_multi_select_list(self, node: Any, value: Any) -> Any:  # noqa: ANN401 - the library's own
        return self._bounded(super().visit_multi_select_list(node, value))

    def visit_multi_select_dict(self, node: Any, value: Any) -> Any:  # noqa: ANN401 - the library's own
        return self._bounded(super().visit_multi_select_dict(node, value))

    def visit_function_expression(self, node: Any, value: Any) -> Any:  # noqa: ANN401 - the library's own
        return self._bounded(super().visit_function_expression(node, value))

    def _bounded(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return a new value unless it is too large: a short expression can double one again and again."""
        size, rest = 0, [value]
        while rest and size <= LARGEST_RESULT:
            part = rest.pop()
            size += 1 + (len(part) // CHARACTERS_PER_VALUE if isinstance(part, str) else 0)
            if isinstance(part, dict):
                rest += part.values()
            elif isinstance(part, list):
                rest += part
        if size > LARGEST_RESULT:
            raise errors.ConditionError("it builds a value that is too large")
        self._spend(size // VALUES_PER_STEP)
        return value

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise errors.ConditionError(f"it takes more than {MOST_STEPS} steps")


def _parsed(expression: str) -> Any:  # noqa: ANN401 - the library's tree
    if len(expression) > LONGEST:
        raise errors.ConditionError(f"it is longer than {LONGEST} characters")
    try:
        with warnings.catch_warnings(action="error", category=PendingDeprecationWarning):
            tree = jmespath.compile(expression).parsed
        _check(tree, DEEPEST)
    except (exceptions.EmptyExpressionError, exceptions.IncompleteExpressionError):
        raise errors.ConditionError("incomplete expression") from None
    except exceptions.LexerError as error:
        raise errors.ConditionError(MISPLACED.format(error.lexer_position + 1)) from None
    except exceptions.ParseError as error:
        raise errors.ConditionError(MISPLACED.format(error.lex_position + 1)) from None
    except RecursionError:
        raise errors.ConditionError(f"it is nested more than {DEEPEST} levels deep") from None
    except (PendingDeprecationWarning, ValueError):
        raise errors.ConditionError("text in `backticks` must be JSON (texts go in 'quotes')") from None
    return tree


def _check(node: Any, levels: int) -> None:  # noqa: ANN401 - the library's tree
    """Check depth and functions; the library itself checks functions only when it calls them."""
    if not levels:
        raise RecursionError
    if node["type"] == "function_expression":
        name, count = node["value"], len(node["children"])
        if name not in FUNCTIONS:
            near = nearest(name, FUNCTIONS)
            meant = f"did you mean {near}()?" if near else "see jmespath.org"
            raise errors.ConditionError(f"unknown JMESPath function ({meant})")
        parameters = FUNCTIONS[name]["signature"]
        more = bool(parameters and parameters[-1].get("variadic"))
        if count < len(parameters) or (count > len(parameters) and not more):
            raise errors.ConditionError(
                f"{name}() takes {len(parameters)} arguments{' or more' if more else ''}, not {count}"
            )
    if node["type"] == "subexpression" and node["children"][0]["type"] == "not_expression":
        raise errors.ConditionError("! applies only to the first name (use parentheses: !(a.b))")
    for child in node["children"]:
        if isinstance(child, dict):
            _check(child, levels - 1)


def _keys(node: Any) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - the library's tree
    children = node["children"]
    if node["type"] == "field":
        yield (node["value"],)
    elif node["type"] == "subexpression" and children[0]["type"] == children[1]["type"] == "field":
        yield (children[0]["value"], children[1]["value"])
    elif node["type"] != "expref":
        for child in children if node["type"] in ALL_AT_ROOT else children[:1]:
            if isinstance(child, dict):
                yield from _keys(child)


def _article(kind: str) -> str:
    return kind if kind == "null" else f"an {kind}" if kind[0] in "ao" else f"a {kind}"
