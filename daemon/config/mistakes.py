"""The conversion of plain values to the file's sections, with pydantic's errors in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from daemon.config import file_model, json_schema

if TYPE_CHECKING:
    from daemon.config.document import Place, Tree

WORDS = {
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "list_type": "must be a list, such as [a, b]",
    "string_type": "must be text (put it in quotes if it looks like a number)",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "wrong": "{what}",
}
EMPTY = "is empty (write its keys below it, indented further, or remove it)"
NO_SECTION = "must be a section: lines of key: value, indented below it"
SECTIONS = {"dict_type", "model_attributes_type", "model_type"}


def sections(tree: Tree) -> file_model.File | None:
    """Return the file's sections. Record and remove invalid values, so that the rest is checked too."""
    for key in [key for key in tree.values if key not in file_model.File.model_fields]:
        tree.mistake((key,), json_schema.unknown((key,)))
        del tree.values[key]
    while True:
        try:
            return file_model.File(**tree.values)
        except ValidationError as error:
            details: list[Any] = error.errors(include_url=False, include_input=False)
        for each in details:
            place = _place(each["loc"], tree)
            tree.mistake(place, _words(each, place, tree))
        dropped = [_drop(tree, _place(each["loc"], tree)) for each in details]
        if not any(dropped):
            return None


def _place(loc: Place, tree: Tree) -> Place:
    """Return the place of an error in the file, without pydantic's own parts and list indexes missing from the file."""
    place = loc
    while place and place not in tree.marks and (isinstance(place[-1], int) or "[" in place[-1]):
        place = place[:-1]
    return place


def _words(error: Any, place: Place, tree: Tree) -> str:  # noqa: ANN401 - pydantic's dictionary
    """Return one of pydantic's errors in plain words, without the value."""
    kind = error["type"]
    if kind == "missing":
        return json_schema.missing(place)
    if kind == "extra_forbidden":
        return json_schema.unknown(place)
    if kind in SECTIONS:
        return EMPTY if tree.value(place) is None else NO_SECTION
    if kind == "literal_error":
        return f"must be {error['ctx']['expected']}".replace("'", "")
    return WORDS.get(kind, "is invalid").format(**error.get("ctx", {}))


def _drop(tree: Tree, place: Place) -> bool:
    """Remove an invalid value, or the entry that lacks a required key. Return whether something was removed."""
    while place and isinstance(place[-1], int):  # remove the whole list, because the other items would move
        place = place[:-1]
    if not place:
        return False
    tree.blamed.add(place)
    if place == ("connections",):
        tree.values["connections"] = {}
        return True
    section = tree.value(place[:-1])
    if not isinstance(section, dict):
        return False  # removed already
    if place[-1] not in section:
        return _drop(tree, place[:-1])
    del section[place[-1]]
    return True
