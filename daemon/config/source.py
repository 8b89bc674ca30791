"""From the file and the environment to plain values, with the place that each value came from.

YAML as version 1.2 has it: only true and false are booleans, dates are texts, a key is
text. Every mistake is collected; none shows a value, for any value may be a secret.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Place: TypeAlias = tuple[str | int, ...]

PREFIX = "PAGERELAY_"
LARGEST_FILE = 1024 * 1024
MOST_VALUES = 100_000
DEEPEST = 20
REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Tree:
    """The configuration as plain values. ``lines`` and ``variables`` say where a value came from."""

    file: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    variables: dict[Place, str] = field(default_factory=dict)
    computed: set[Place] = field(default_factory=set)
    mistakes: list[tuple[int, str]] = field(default_factory=list)

    def mistake(self, place: Place, what: str) -> None:
        """Note a mistake at the place, or at the nearest one around it that has a line."""
        for end in range(len(place), -1, -1):
            if place[:end] in self.variables:
                where = f"environment variable {self.variables[place[:end]]}: "
                self.mistakes.append((0, where + (f"{dotted(place)}: " if place else "") + what))
                return
            if place[:end] in self.lines:
                line = self.lines[place[:end]]
                self.mistakes.append((line, f"{self.file}:{line}: " + (f"{dotted(place)}: " if place else "") + what))
                return
        self.mistakes.append((0, f"{self.file}: {dotted(place) + ': ' if place else ''}{what}"))

    def is_written(self, place: Place) -> bool:
        """Whether the value stands in the file as it is: only such a value may be shown."""
        return place in self.lines and place not in self.computed and place not in self.variables


def dotted(place: Place) -> str:
    """A place as people write it: ``triggers.paged.to[0]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def hint(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)``, if something known is like it."""
    near = get_close_matches(wrong, list(known), n=1, cutoff=0.5)
    return f' (did you mean "{near[0]}"?)' if near else ""


class _Loader(yaml.SafeLoader):
    """Scalars as YAML 1.2's core schema reads them."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's way


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read(path: Path, environ: Mapping[str, str]) -> Tree:
    """The file with everything replaced that stands for something else, and the environment's overrides."""
    tree = Tree(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        tree.mistake((), f"cannot be read: {error.strerror}")
        return tree
    if len(content) > LARGEST_FILE:
        tree.mistake((), f"is larger than {LARGEST_FILE} bytes")
        return tree
    node = _parse(content, tree)
    if node is not None:
        values = _Builder(tree, environ).build(node, ())
        if isinstance(values, dict):
            tree.values = values
        elif not tree.mistakes and values is not None:
            tree.mistake((), "the file must hold sections such as connections, targets and triggers")
    return tree


def _parse(content: bytes, tree: Tree) -> yaml.Node | None:
    try:
        loader = _Loader(content)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        said = (error.problem or "cannot be understood").split("'")[0].strip()
        tree.mistakes.append(
            (line, f"{tree.file}:{line}: this is no YAML: {said} (check indentation, colons and quotes)")
        )
        return None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        tree.mistake((), "this is no YAML: the file must be text in UTF-8")
        return None
    return node


class _Builder:
    """Turns YAML's nodes into values, noting lines, and replacing references in texts."""

    def __init__(self, tree: Tree, environ: Mapping[str, str]) -> None:
        self._tree = tree
        self._environ = environ
        self._count = 0

    def build(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - any value
        """The value of a node."""
        self._count += 1
        self._tree.lines.setdefault(place, node.start_mark.line + 1)
        if self._count > MOST_VALUES or len(place) > DEEPEST:
            if self._count != MOST_VALUES + 2:
                self._tree.mistake(place, "the file holds too much (are there aliases in aliases?)")
            self._count = MOST_VALUES + 1
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, number)) for number, item in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._tree.mistake(place, "a key must be text")
                continue
            key = key_node.value
            inside = (*place, key)
            if key in values:
                self._tree.lines[inside] = line
                self._tree.mistake(inside, f"is given twice, first in line {first[key]} (remove one)")
                continue
            first[key] = line
            self._tree.lines[inside] = line
            values[key] = self.build(value_node, inside)
        return values

    def _scalar(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - any value
        kind = node.tag.rpartition(":")[2]
        text: str = node.value
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text) if len(text) < DEEPEST else text
            case "float":
                return float(text)
            case "str":
                return self._replace(text, place)
            case _:
                self._tree.mistake(place, "YAML tags have no meaning here (write the value itself)")
                return None

    def _replace(self, text: str, place: Place) -> str:
        """The text with ``${NAME}``, ``${NAME:-default}`` and ``${file:/path}`` replaced; ``$${`` is a plain ``${``."""

        def replacement(found: re.Match[str]) -> str:
            if found.group(0) == "$${":
                return "${"
            self._tree.computed.add(place)
            return self._value_of(found.group(1), place)

        return REFERENCE.sub(replacement, text)

    def _value_of(self, reference: str, place: Place) -> str:
        if reference.startswith("file:"):
            return self._content_of(reference.removeprefix("file:"), place)
        name, colon, default = reference.partition(":-")
        if not NAME.fullmatch(name):
            wanted = "${NAME}, ${NAME:-default} or ${file:/path}"
            self._tree.mistake(place, f"a reference that is none (write {wanted}, or $${{ for a plain ${{)")
            return ""
        value = self._environ.get(name)
        if value or (value is not None and not colon):
            return value
        if colon:
            return default
        self._tree.mistake(place, f"the environment variable {name} is not set (set it, or write ${{{name}:-default}})")
        return ""

    def _content_of(self, path: str, place: Place) -> str:
        try:
            with Path(path).open(encoding="utf-8") as file:
                return file.read(LARGEST_FILE).rstrip("\r\n")
        except OSError as error:
            self._tree.mistake(place, f"the file {path} cannot be read: {os.strerror(error.errno or 0)}")
        except ValueError:
            self._tree.mistake(place, f"the file {path} is no text in UTF-8")
        return ""


def override(tree: Tree, environ: Mapping[str, str], shape: Mapping[str, Any]) -> None:
    """Put ``PAGERELAY_<SECTION>__<KEY>`` into the tree. ``shape`` is the file's JSON Schema."""
    for variable, text in sorted(environ.items()):
        if variable.startswith(PREFIX) and "__" in variable:
            _override_one(tree, variable, text, shape)


def _override_one(tree: Tree, variable: str, text: str, shape: Mapping[str, Any]) -> None:
    here: dict[str, Any] = tree.values
    place: Place = ()
    at: Mapping[str, Any] = resolved(shape, shape)
    parts = variable.removeprefix(PREFIX).split("__")
    for number, part in enumerate(parts):
        known = at.get("properties") or {name: at.get("additionalProperties", {}) for name in here}
        chosen = next((name for name in known if _plain(name) == _plain(part)), None)
        if chosen is None:
            tree.variables[()] = variable
            tree.mistake((), f"there is no {dotted((*place, part.lower()))}{hint(part.lower(), known)}")
            del tree.variables[()]
            return
        place = (*place, chosen)
        at = resolved(known[chosen], shape)
        if number < len(parts) - 1:
            inner = here.get(chosen)
            here[chosen] = inner if isinstance(inner, dict) else {}
            here = here[chosen]
    tree.variables[place] = variable
    if at.get("type") in {"object", "array"}:
        tree.mistake(place, "is no single value (write it in the file)")
        return
    here[str(place[-1])] = _single(text)


def _single(text: str) -> Any:  # noqa: ANN401 - any scalar
    return None if text in {"", "null", "~"} else {"true": True, "false": False}.get(text.lower(), text)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def resolved(part: Any, shape: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ANN401 - any part of a schema
    """A part of the schema with its reference followed, and the non-null branch of a choice."""
    if not isinstance(part, dict):
        return {}
    if "$ref" in part:
        return resolved(shape["$defs"][part["$ref"].rpartition("/")[2]], shape)
    for branch in part.get("anyOf", ()):
        if branch.get("type") != "null":
            return resolved(branch, shape)
    return part
