"""The configuration: one YAML file with environment overrides, checked whole before anything starts.

Only this package reads the file and the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from daemon import errors
from daemon.config import check, format_support, mistakes, overrides, source
from daemon.config.json_schema import schema
from daemon.outbound import masking
from daemon.settings import ApiSettings, DatabaseSettings, LogSettings, RetentionPeriods, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config.document import Tree

__all__ = ["DEFAULT_PATHS", "find", "load", "schema", "secrets"]

DEFAULT_PATHS = (Path("config.yaml"), Path("/etc/pagerelay/config.yaml"))
SHORTEST_SECRET = 4
LONG_PATH = 20  # of a target's URL: many receivers have nothing else that is secret


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: the one named, else $PAGERELAY_CONFIG, else the first that exists."""
    if path is not None:
        return path
    if environ.get("PAGERELAY_CONFIG"):
        return Path(environ["PAGERELAY_CONFIG"])
    for candidate in DEFAULT_PATHS:
        if _is_there(candidate):
            return candidate
    places = " nor ".join(str(each) for each in DEFAULT_PATHS)
    message = f"no configuration file: neither {places} exists (name one with --config, or copy config.example.yaml)"
    raise errors.ConfigurationError([message])


def _is_there(path: Path) -> bool:
    """Whether there is such a file, also one that may not be read: reading it tells why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read and check the configuration. Raises ConfigurationError with one line for each mistake."""
    tree = source.read(find(path, environ), environ)
    settings = _settings(tree, environ) if tree.values else None
    if tree.mistakes or settings is None:
        raise errors.ConfigurationError(tree.lines())
    return settings


def _settings(tree: Tree, environ: Mapping[str, str]) -> Settings | None:
    """The settings that the tree makes; of no use if it has mistakes."""
    overrides.apply(tree, environ)
    names = check.known(tree)
    file = mistakes.sections(tree)
    if file is None:
        return None
    connections = check.connections(file, tree, names)
    targets = check.targets(file, tree)
    triggers = check.triggers_of(file, tree, names, connections)
    check.check_targets(file.actions.notify, tree, ("actions", "notify"), names)
    check.check_targets(file.alerts.to, tree, ("alerts", "to"), names)
    format_support.check(tree, triggers, file.actions.notify, file.alerts.to, targets)
    listen = check.api(file, tree)
    return Settings(
        source=Path(tree.file),
        database=DatabaseSettings(file.database.url, RetentionPeriods(**dict(file.database.retention))),
        log=LogSettings(file.log.format, file.log.level),
        api=ApiSettings(*listen, file.api.token) if listen else None,
        connections=connections,
        targets=targets,
        triggers=triggers,
        actions_notify=tuple(file.actions.notify),
        alerts_to=tuple(file.alerts.to),
        alerts_after=file.alerts.after,
    )


def secrets(settings: Settings) -> list[str]:
    """Every value of the configuration that must never be shown."""
    found = [settings.database.url.get_secret_value()]
    password = urlsplit(found[0]).password or ""
    found += [password, unquote(password)]
    if settings.api is not None and settings.api.token is not None:
        found.append(settings.api.token.get_secret_value())
    for each in settings.connections.values():
        found.append(each.api_key.get_secret_value())
        if each.proxy is not None:
            found += masking.of_proxy(each.proxy.get_secret_value())
    for target in settings.targets.values():
        parts = urlsplit(target.url.get_secret_value())
        found += [parts.query, *masking.of_target(target)]
        if len(parts.path) >= LONG_PATH:
            found.append(parts.path)
    shown = {found[0]} if settings.database.url.get_secret_value().startswith("sqlite") else set()
    return masking.longest_first(set(found) - shown, SHORTEST_SECRET)
