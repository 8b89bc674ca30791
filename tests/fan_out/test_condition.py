"""What a trigger's condition means, what it may not be, and what it does with whatever a message holds."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import errors
from daemon.config import conditions
from daemon.fan_out import condition
from daemon.fan_out.condition import DEEPEST, LONGEST, Condition
from daemon.formats import samples, standard

MESSAGE = standard.document(samples.event("incident.triggered"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)
EXPRESSIONS = [
    "a.b == 'x' || length(a) > `1`",
    "sort(a)[0] < b",
    "to_number(a) > `1` && ceil(to_number(a)) == `2`",
    "join(',', a)",
    "sort_by(a, &b)[0].c",
    "max_by(a, &c)",
    "sum(a) > avg(b)",
    "map(&length(@), a)",
    "a[?b > c] | [0]",
    "contains(a, b)",
    "a[1:2:-1]",
    "merge(a, b)",
    "not_null(a, b, c) >= `0`",
]


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("type == 'incident.triggered'", True),
        ("data.incident.urgency == 'low'", False),
        ("data.incident.priority.summary == 'P1' && contains(data.incident.title, 'disk')", True),
        ("data.incident.teams[?id == 'PTESTTEAM']", True),
        ("data.incident.teams[?id == 'PNONE']", False),
        ("!(data.incident.resolved_at)", True),
        ("contains(['PTESTSERVICE', 'POTHER'], data.incident.service.id)", True),
        ("data.incident.nothing.of.it", False),
        ("data.incident.nothing == 'x'", False),
        ("data.incident.nothing > `3`", False),
    ],
)
def test_a_condition_is_evaluated_on_the_message_in_the_standard_format(expression: str, *, holds: bool) -> None:
    assert Condition(expression).holds(MESSAGE) is holds


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_null_false_and_empty_values_do_not_match(value: Any) -> None:
    assert Condition("a").holds({"a": value}) is False
    assert Condition("a").holds({}) is False


@pytest.mark.parametrize("value", [True, 0, 0.0, 1, "false", [None], {"a": None}])
def test_every_other_value_matches(value: Any) -> None:
    assert Condition("a").holds({"a": value}) is True


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "incomplete expression"),
        ("a ==", "incomplete expression"),
        ("a = 'x'", "unexpected character at position 3"),
        ("a == x'", "unexpected character at position 7"),
        ("a b", "unexpected character at position 3"),
        ("a == `{`", "text in `backticks` must be JSON"),
        ("a == `x`", r"text in `backticks` must be JSON \(texts go in 'quotes'\)"),
        ("lenght(a)", r"unknown JMESPath function \(did you mean length\(\)\?\)"),
        ("qqq(a)", r"unknown JMESPath function \(see jmespath.org\)"),
        ("a && contains(b)", r"contains\(\) takes 2 arguments, not 1"),
        ("not_null()", r"not_null\(\) takes 1 arguments or more, not 0"),
        ("!a.b == 'x'", r"! applies only to the first name \(use parentheses: !\(a.b\)\)"),
        ("a" * (LONGEST + 1), f"it is longer than {LONGEST} characters"),
        ("!" * DEEPEST + "a", f"it is nested more than {DEEPEST} levels deep"),
    ],
)
def test_an_invalid_expression_is_rejected_with_the_reason(expression: str, why: str) -> None:
    with pytest.raises(errors.ConditionError, match=why):
        Condition(expression)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("length(a)", r"length\(\) does not take null"),
        ("starts_with(b, 'x')", r"starts_with\(\) does not take a number"),
        ("b > c", "values of different types"),
        ("ceil(to_number('inf'))", "it cannot be evaluated"),
    ],
)
def test_an_evaluation_error_contains_no_value_of_the_message(expression: str, why: str) -> None:
    with pytest.raises(errors.ConditionError, match=why) as caught:
        Condition(expression).holds({"b": 4711, "c": "secret"})
    assert "4711" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_endless_expression_is_stopped() -> None:
    numbers = "`[" + ",".join("1" * 20) + "]`"
    for endless in (f"map(&map(&map(&{numbers}, {numbers}), {numbers}), {numbers})", "a" + "[] | [@, @]" * 30):
        with pytest.raises(errors.ConditionError, match="it takes more than 5000 steps"):
            Condition(endless).holds({"a": [[1]]})
    assert Condition("type").holds(MESSAGE), "each message has its steps for itself"
    counting = Condition("data.incident.urgency == 'high'")
    assert all(counting.holds(MESSAGE) for _ in range(condition.MOST_STEPS))


@given(st.sampled_from(EXPRESSIONS), st.dictionaries(st.sampled_from("abc"), JSON))
def test_a_condition_on_any_message_returns_a_result_or_raises_an_evaluation_error(
    expression: str, message: Any
) -> None:
    with contextlib.suppress(errors.ConditionError):
        assert Condition(expression).holds(message) in {True, False}


@given(st.text(alphabet="ab.[]?*@|&!<>=`'\"(){},: 01", max_size=30))
def test_any_text_is_a_valid_expression_or_a_clean_error(expression: str) -> None:
    with contextlib.suppress(errors.ConditionError):
        asked = Condition(expression)
        assert all(asked.keys())
        assert asked.holds({"a": {"b": [1, "x"]}, "b": None}) in {True, False}


@pytest.mark.parametrize(
    "expression", ['"type" == `"x"`', 'data."note"', 'data.incident.priority."summary"', 'data.incident.teams[*]."id"']
)
def test_a_key_of_messages_may_be_in_double_quotes(expression: str) -> None:
    assert conditions.mistake(expression, ["incident.triggered"], shown=True) is None


def test_an_expression_lists_its_double_quoted_keys_at_any_depth() -> None:
    expression = """a."b c" == '"x"' && d[?e == "f\\u0067"] || contains(h, `"i"`)"""
    assert Condition(expression).quoted_keys() == {"b c", "fg"}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("data.incident.urgency == 'high' && type", {("data", "incident"), ("type",)}),
        ("data.incident.teams[?id == name].x | [0]", {("data", "incident")}),
        ("map(&id, data.assignees) || [a.b, {c: d.e.f}]", {("data", "assignees"), ("a", "b"), ("d", "e")}),
        ("!(x[0].y)", {("x",)}),
        ("@.type", set()),
    ],
)
def test_an_expression_lists_the_message_keys_that_it_uses(expression: str, names: set[tuple[str, ...]]) -> None:
    assert Condition(expression).keys() == names


GROWING = (
    "[@,@] | " * 24 + "to_string(@)",
    "{a:@,b:@} | " * 24 + "@",
    "[@,@][] | " * 30 + "@",
    "type | " + "[@,@] | join('',@) | " * 8 + "@",
)


@pytest.mark.parametrize("expression", GROWING)
def test_a_short_expression_that_grows_without_bound_is_an_error_before_it_takes_memory(expression: str) -> None:
    document = {"type": "x" * 10_000, "data": {"list": list(range(50))}}
    with pytest.raises(errors.ConditionError, match=r"it builds a value that is too large|more than 5000 steps"):
        Condition(expression).holds(document)


def test_an_expression_that_builds_small_values_is_evaluated() -> None:
    document = {"type": "incident.triggered", "data": {"tags": ["a", "b"]}}
    assert Condition("contains(join('-', [type, data.tags[0]]), 'triggered-a')").holds(document)
