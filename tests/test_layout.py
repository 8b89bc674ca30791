"""The limits that keep the code readable: few files at the root, short modules and functions, unique class names."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "daemon"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE = 350
LONGEST_FUNCTION = 45
MOST_BROAD_HANDLERS = 8


def test_the_root_of_the_package_has_at_most_8_modules_and_28_entries() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len([path for path in entries if path.suffix == ".py"]) <= 8
    assert len(entries) <= 28


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_are_short(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {each.name: (each.end_lineno or each.lineno) - each.lineno + 1 for each in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_a_class_name_is_used_once() -> None:
    trees = [ast.parse(module.read_text(encoding="utf-8")) for module in MODULES]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, number in names.items() if number > 1] == []


def test_broad_handlers_are_few_and_each_has_its_reason() -> None:
    lines = [line for module in MODULES for line in module.read_text(encoding="utf-8").splitlines()]
    broad = [line.strip() for line in lines if line.strip().startswith(("except Exception", "except:"))]
    assert len(broad) <= MOST_BROAD_HANDLERS
    assert [line for line in broad if "  # " not in line] == []
