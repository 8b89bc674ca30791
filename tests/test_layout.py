"""The limits that keep the code readable: few files at the root, short modules and functions, unique class names."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "daemon"
TEXTS = {module: module.read_text(encoding="utf-8") for module in sorted(PACKAGE.rglob("*.py"))}
LONGEST_MODULE = 350
LONGEST_FUNCTION = 45
MOST_BROAD_HANDLERS = 8


def test_the_root_of_the_package_has_at_most_8_modules_and_28_entries() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len([path for path in entries if path.suffix == ".py"]) <= 8
    assert len(entries) <= 28


def test_modules_are_short() -> None:
    lengths = {_name(module): len(text.splitlines()) for module, text in TEXTS.items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_functions_are_short_and_a_class_name_is_used_once() -> None:
    classes: Counter[str] = Counter()
    long = {}
    for module, text in TEXTS.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                classes[node.name] += 1
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long[_name(module), node.name, node.lineno] = length
    assert long == {}
    assert [name for name, number in classes.items() if number > 1] == []


def _name(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def test_broad_handlers_are_few_and_each_has_its_reason() -> None:
    lines = [line for text in TEXTS.values() for line in text.splitlines()]
    broad = [line.strip() for line in lines if line.strip().startswith(("except Exception", "except:"))]
    assert len(broad) <= MOST_BROAD_HANDLERS
    assert [line for line in broad if "  # " not in line] == []
