"""The configuration: one YAML file with environment overrides, checked whole before anything starts.

Only this package reads the file and the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from daemon import errors, model
from daemon.config import check, fields, source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config.source import Place, Tree

DEFAULT_PATHS = (Path("config.yaml"), Path("/etc/pagerelay/config.yaml"))
SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Api:
    """Where the HTTP server listens, and the token that /v1 asks for."""

    host: str
    port: int
    token: SecretStr | None


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, checked and complete. ``api`` is None if there shall be no HTTP server."""

    source: Path
    database: fields.Database
    log: fields.Log
    api: Api | None
    connections: Mapping[str, model.Connection]
    targets: Mapping[str, model.Target]
    triggers: Mapping[str, model.Trigger]


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: the one named, else $PAGERELAY_CONFIG, else the first that exists."""
    if path is not None:
        return path
    if environ.get("PAGERELAY_CONFIG"):
        return Path(environ["PAGERELAY_CONFIG"])
    for candidate in DEFAULT_PATHS:
        if candidate.exists():
            return candidate
    places = " nor ".join(str(each) for each in DEFAULT_PATHS)
    message = (
        f"there is no configuration: neither {places} exists (name one with --config, or copy config.example.yaml)"
    )
    raise errors.ConfigurationError([message])


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read and check the configuration. Raises ConfigurationError with one line for each mistake."""
    tree = source.read(find(path, environ), environ)
    source.override(tree, environ, schema())
    settings = None if tree.mistakes and not tree.values else _checked(tree)
    if tree.mistakes or settings is None:
        raise errors.ConfigurationError([text for _, text in sorted(dict.fromkeys(tree.mistakes))])
    return settings


def _checked(tree: Tree) -> Settings | None:
    try:
        file = fields.File(**tree.values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=True)
        for each in found:
            _note(tree, each)
        if any(each["type"] != "extra_forbidden" for each in found):
            return None
        for each in found:
            _drop(tree.values, each["loc"])
        return _checked(tree)
    connections = check.connections(file, tree)
    targets = check.targets(file, tree)
    triggers = check.triggers_of(file, tree, connections, targets)
    listen = check.api(file, tree)
    api = Api(*listen, file.api.token) if listen else None
    return Settings(Path(tree.file), file.database, file.log, api, connections, targets, triggers)


def _drop(values: Any, place: Place) -> None:  # noqa: ANN401 - any part of the file
    """Leave out an unknown key, so that the rest can be checked in the same go."""
    for part in place[:-1]:
        values = values[part]
    del values[place[-1]]


def _note(tree: Tree, error: Any) -> None:  # noqa: ANN401 - pydantic's error as a dictionary
    """Put one of pydantic's errors into our words, at its place in the file."""
    place: Place = tuple(error["loc"])
    if place and place[-1] == "[key]":
        place = place[:-1]
    if error["type"] == "extra_forbidden":
        known = _keys_beside(place)
        tree.mistake(place, f"unknown key{source.hint(str(place[-1]), known)}")
        return
    tree.mistake(_shortened(place, tree), check.problem(error))


def _shortened(place: Place, tree: Tree) -> Place:
    """The place without pydantic's own marks behind what the file has."""
    while len(place) > 1 and isinstance(place[-1], str) and place not in tree.lines and "[" in place[-1]:
        place = place[:-1]
    return place


def _keys_beside(place: Place) -> list[str]:
    """The keys that could stand where an unknown one does."""
    whole = schema()
    at: Any = whole
    for part in place[:-1]:
        at = at.get("properties", {}).get(part) or at.get("additionalProperties") or {}
        at = source.resolved(at, whole)
    return list(at.get("properties", {}))


def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    made = fields.File.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "pagerelay configuration"}


def secrets(settings: Settings) -> list[str]:
    """Every value of the configuration that must never be shown."""
    found = [settings.database.url.get_secret_value()]
    found.append(urlsplit(found[0]).password or "")
    if settings.api is not None and settings.api.token is not None:
        found.append(settings.api.token.get_secret_value())
    found += [each.api_key.get_secret_value() for each in settings.connections.values()]
    for target in settings.targets.values():
        found += [secret.get_secret_value() for secret in target.secrets]
        found += [value.get_secret_value() for _, value in target.headers]
        found.append(urlsplit(target.url.get_secret_value()).query)
    shown = {found[0]} if settings.database.url.get_secret_value().startswith("sqlite") else set()
    return sorted({each for each in found if len(each) >= SHORTEST_SECRET} - shown, key=len, reverse=True)
