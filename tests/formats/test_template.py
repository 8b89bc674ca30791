"""The format template: what a template gives, what is said when it is wrong, and that it costs nobody else anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from daemon import errors, formats
from daemon.formats import samples, standard, template
from daemon.settings import Options
from tests.formats.rendered import BATCH, EVENTS, body, content

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = standard.document(samples.event("incident.triggered"))
FOREVER = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = "{% set ns = namespace(a='x') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}"
NESTING = "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}"
ENDLESS = "{% macro again() %}{{ again() }}{{ again() }}{% endmacro %}{{ again() }}"


@pytest.fixture(scope="module")
def renderer() -> Iterator[template.Renderer]:
    """Yield a process for many templates."""
    process = template.Renderer()
    yield process
    process.close()


def refused(renderer: template.Renderer, text: str, **more: Any) -> str:
    """Return why a template is refused."""
    with pytest.raises(errors.FormatError) as caught:
        renderer.render(text, DOCUMENT, **more)
    return str(caught.value)


def test_a_template_renders_the_standard_document_to_json() -> None:
    text = (
        '{"kind": {{ type | tojson }}, "at": "{{ timestamp }}", "title": {{ data.incident.title | tojson }}, "n": [1]}'
    )
    rendered = content("template", EVENTS[0], template=text)
    assert rendered.content_type == "application/json"
    title = samples.TITLE
    assert body("template", EVENTS[0], template=text) == {
        "kind": "incident.triggered",
        "at": "2026-01-01T12:00:00Z",
        "title": title,
        "n": [1],
    }
    assert rendered.body == content("template", EVENTS[0], template=text).body
    assert formats.REGISTRY["template"].content(BATCH, Options(template=text)) is None


def test_a_missing_value_is_empty_when_delivering_and_an_error_when_checking(renderer: template.Renderer) -> None:
    text = '["{{ data.nothing.at.all }}", {{ data.nothing | tojson }}, "{{ data.nothing | truncate(5) | upper }}"]'
    assert renderer.render(text, DOCUMENT) == b'["",null,""]'
    assert refused(renderer, text, strict=True) == "line 1: 'dict object' has no attribute 'nothing'"
    assert refused(renderer, "{{ data.nothing | tojson }}", strict=True).endswith("no attribute 'nothing'")
    template_text = "{% if data.nothing %}1{% else %}2{% endif %}"
    assert renderer.render(template_text, DOCUMENT, strict=True) == b"2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n{{ data.incident.title | nothing }}", "line 3: No filter named 'nothing'."),
        ("{}\n{% if %}", "line 2: Expected an expression, got 'end of statement block'"),
        ("\n{{ 1 // 0 }}", "line 2: integer division or modulo by zero"),
        (
            "{",
            "does not render valid JSON: Expecting property name enclosed in double quotes in line 1, column 2",
        ),
        ("{% if false %}{% endif %}", "renders no output"),
        ("[NaN]", "does not render valid JSON: NaN is not a valid number"),
        ('"\\ud800"', "renders text that is not valid Unicode"),
        ("{{ [range] | tojson }}", "line 1: a function cannot be converted to JSON"),
        ("{{ ('x' * 300000) | tojson }}", "renders more than 256 KiB"),
        ("{{ 'x' * 10 ** 10 }}", "line 1: exceeds its memory limit"),
        ("{% include 'other' %}", "line 1: no loader for this environment specified"),
        ("{{ [1, 2] | random }}", "line 1: No filter named 'random'."),
        ("{{ nothing." + "x" * 500 + ".y | upper }}", "line 1: 'nothing' is undefined"),
    ],
)
def test_a_template_error_names_the_line(renderer: template.Renderer, text: str, message: str) -> None:
    assert refused(renderer, text, strict=True).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        FOREVER,
        DOUBLING,
        NESTING,
        ENDLESS,
        "{{ (10 ** 10) ** (10 ** 10) }}",
        "{{ 'x' * 10 ** 10 }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ '{:>10000000000}'.format('x') }}",
        "{{ 'x'.ljust(10 ** 10) }}",
        "{{ 'x' | center(10 ** 10) }}",
        "{{ range(10 ** 9) | list }}",
        "{{ [1] | batch(10 ** 9, 0) | list }}",
        "{{ lipsum(10 ** 6) }}",
        "[" * 100_000,
        "{{" + "(" * 30_000 + ")" * 30_000 + "}}",
    ],
    ids=lambda text: text[:30],
)
def test_a_template_that_exceeds_its_time_or_memory_is_stopped(renderer: template.Renderer, text: str) -> None:
    started = os.times()
    assert refused(renderer, text)
    used = os.times().children_user + os.times().children_system
    assert used - started.children_user - started.children_system < template.SECONDS + 1
    assert renderer.render("1", DOCUMENT) == b"1"


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ data.__class__.__init__.__globals__ }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(data) }}",
        "{{ data | attr('__class__') }}",
        "{{ data.update({}) }}",
        "{{ self._TemplateReference__context }}",
    ],
)
def test_a_template_cannot_leave_the_sandbox(renderer: template.Renderer, text: str) -> None:
    assert refused(renderer, text, strict=True).startswith("line 1: access to attribute")
    with contextlib.suppress(errors.FormatError):
        assert renderer.render(f'"{text}"', DOCUMENT) == b'""'


def test_the_process_has_an_empty_environment_and_is_replaced_when_it_dies() -> None:
    made = template.Renderer()
    made.render("1", DOCUMENT)
    process = made._process
    assert process is not None
    assert Path(f"/proc/{process.pid}/environ").read_bytes() == b""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert made.render("2", DOCUMENT) == b"2"
    made.close()
    made.close()


def test_a_template_that_is_too_long_is_rejected_without_parsing(renderer: template.Renderer) -> None:
    problem = template.problem(renderer, "x" * (template.LARGEST_TEMPLATE + 1), [EVENTS[0]], [])
    assert problem == "must be at most 64 KiB"


async def test_rendering_does_not_block_the_event_loop() -> None:
    """While a template computes its whole time away, the loop goes on."""
    turns, running = 0, True

    async def tick() -> None:
        nonlocal turns
        while running:
            await asyncio.sleep(0.001)
            turns += 1

    made = template.Renderer()
    ticking = asyncio.create_task(tick())
    with pytest.raises(errors.FormatError):
        await asyncio.to_thread(made.render, FOREVER, DOCUMENT)
    running = False
    await ticking
    made.close()
    assert turns > 10  # hundreds, on a machine that has nothing else to do
