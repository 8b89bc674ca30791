"""The configuration: one YAML file with environment overrides, checked whole before anything starts.

Only this package reads the file, the file of variables beside it, and the environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from daemon import errors
from daemon.config import check, env_file, format_support, mistakes, overrides, source, tracing
from daemon.config.document import Tree
from daemon.config.json_schema import schema
from daemon.outbound import masking
from daemon.settings import DatabaseSettings, LogSettings, RetentionPeriods, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config.file_model import File

__all__ = ["DEFAULT_PATHS", "Loaded", "find", "load", "read", "schema", "secrets"]

DEFAULT_PATHS = (Path("config.yaml"), Path("/etc/pagerelay/config.yaml"))
SHORTEST_SECRET = 4
LONG_PATH = 20  # characters; a longer path of a target's URL counts as a secret, since many receivers have no other


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration file's path: ``path``, else $PAGERELAY_CONFIG, else the first default that exists."""
    if path is not None:
        return path
    if environ.get("PAGERELAY_CONFIG"):
        return Path(environ["PAGERELAY_CONFIG"])
    for candidate in DEFAULT_PATHS:
        if _exists(candidate):
            return candidate
    places = " nor ".join(str(each) for each in DEFAULT_PATHS)
    remedy = "use --config or PAGERELAY_CONFIG, or copy config.example.yaml"
    raise errors.ConfigurationError([f"no configuration file: neither {places} exists ({remedy})"])


def _exists(path: Path) -> bool:
    """Return whether the file exists. An unreadable one does: the attempt to read it reports the reason."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration: as the daemon uses it, and every value by section and key, with defaults.

    ``environ`` is the environment that it was read with. All of it holds secrets.
    """

    settings: Settings = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read and check the configuration. Raises ConfigurationError with one line for each mistake."""
    return read(path, environ).settings


def read(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read and check the configuration, as ``load``."""
    path, process_environ = find(path, environ), environ
    tree = Tree(str(path))
    variables = env_file.find(path, environ)
    if variables is not None:
        environ = env_file.read(variables, tree, environ)
    if not tree.mistakes:  # or each variable would be missing, too
        source.read(path, environ, tree)
    loaded = _loaded(tree, environ, variables) if tree.values else None
    if tree.mistakes or loaded is None:
        raise errors.ConfigurationError(tree.lines())
    return replace(loaded, environ=process_environ)


def _loaded(tree: Tree, environ: Mapping[str, str], variables: Path | None) -> Loaded | None:
    """Return the configuration of the tree. It is unusable if the tree has mistakes afterwards."""
    overrides.apply(tree, environ)
    names = check.names_in(tree)
    file = mistakes.sections(tree)
    if file is None:
        return None
    connections = check.connections(file, tree, names)
    targets = check.targets(file, tree)
    triggers = check.triggers_of(file, tree, names, connections)
    check.check_targets(file.actions.notify, tree, ("actions", "notify"), names)
    check.check_targets(file.alerts.to, tree, ("alerts", "to"), names)
    format_support.check(tree, triggers, file.actions.notify, file.alerts.to, targets)
    settings = Settings(
        source=Path(tree.file),
        env_file=variables,
        database=DatabaseSettings(file.database.url, RetentionPeriods(**dict(file.database.retention))),
        log=LogSettings(file.log.format, file.log.level),
        api=check.api(file, tree),
        connections=connections,
        targets=targets,
        triggers=triggers,
        actions_notify=tuple(file.actions.notify),
        alerts_to=tuple(file.alerts.to),
        alerts_after=file.alerts.after,
        traces=tracing.settings(file, tree, environ),
    )
    return Loaded(settings, _values(file, settings))


def _values(file: File, settings: Settings) -> dict[str, Any]:
    """Return every value of the file; with the names of files also their contents, which may change alone."""
    values = file.model_dump(by_alias=True)
    for name, target in settings.targets.items():
        if target.tls is not None:
            section = values["targets"][name]["tls"]
            section["ca"] = (section["ca"], target.tls.ca)
            section["certificate"] = (section["certificate"], target.tls.identity)
    return values


def secrets(settings: Settings) -> list[str]:
    """Return every value of the configuration that must never be public, the longest first."""
    values = [settings.database.url.get_secret_value()]
    password = urlsplit(values[0]).password or ""
    values += [password, unquote(password)]
    if settings.api is not None:
        tokens = settings.api.token, settings.api.read_token
        values += [token.get_secret_value() for token in tokens if token is not None]
    for each in settings.connections.values():
        secret = each.api_key if each.oauth is None else each.oauth.client_secret
        values.append(secret.get_secret_value() if secret is not None else "")
        if each.proxy is not None:
            values += masking.of_proxy(each.proxy.get_secret_value())
    for target in settings.targets.values():
        parts = urlsplit(target.url.get_secret_value())
        values += [parts.query, *masking.of_target(target)]
        if len(parts.path) >= LONG_PATH:
            values.append(parts.path)
    if settings.traces is not None:
        values += tracing.secrets(settings.traces)
    public = {values[0]} if settings.database.url.get_secret_value().startswith("sqlite") else set()
    return masking.longest_first(set(values) - public, SHORTEST_SECRET)
