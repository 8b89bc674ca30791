"""The file for a bug report: findings, status, configuration, versions and log lines, without any secret."""

from __future__ import annotations

import dataclasses
import io
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from datetime import timedelta
from importlib import metadata
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import SecretStr

import daemon
from daemon import errors
from daemon.model import MASK
from daemon.outbound import masking
from daemon.settings import Options
from daemon.storage import sqlite
from daemon.text import mask
from daemon.views.target_health import origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from daemon.control.doctor.finding import Diagnosis
    from daemon.settings import Settings
    from daemon.views.overview import Overview

PACKAGES = ("apscheduler", "fastapi", "httpx", "psycopg", "pydantic", "pysqlite3", "sqlalchemy", "uvicorn", "uvloop")
URLS = ("url", "token_url", "proxy")
JOURNAL = ("--unit=pagerelay", "--lines=500", "--no-pager", "--quiet", "--output=cat")
JOURNAL_SECONDS = 10.0
FOLDER = "pagerelay-bundle"


def write(
    path: Path,
    diagnosis: Diagnosis,
    settings: Settings | None,
    status: Overview | None,
    log: Sequence[str],
    hidden: Sequence[str],
) -> list[str]:
    """Write the file, and return the names of its parts. ``hidden`` are the secrets.

    Raises UsageError if the file exists or cannot be created.
    """
    parts: dict[str, str] = {"doctor.json": _json(diagnosis), "versions.json": _json(_versions())}
    if status is not None:
        parts["status.json"] = _json(status)
    if settings is not None:
        parts["configuration.json"] = _json(public(settings))
    if log:
        parts["log.txt"] = "".join(f"{line}\n" for line in log)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        message = f"cannot create {path}: {error.strerror} (name a new file in a directory that you may write to)"
        raise errors.UsageError(message) from None
    spelled = masking.longest_first(masking.spellings(hidden))
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode=_mode(path)) as archive:
        for name, text in parts.items():
            content = mask(text, spelled).encode()
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return list(parts)


def last_log_lines() -> list[str]:
    """Return the last lines that the service logged to the journal; none if there is no journal, or no such service."""
    program = shutil.which("journalctl")
    if program is None:
        return []
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [program, *JOURNAL], capture_output=True, text=True, errors="replace", check=True, timeout=JOURNAL_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def public(value: object, name: str = "") -> Any:  # noqa: ANN401, PLR0911 - any JSON, case by case
    """Return the configuration as JSON values: no secret, of addresses only host and port, of templates the length."""
    match value:
        case SecretStr():
            return origin(value.get_secret_value()) if name in URLS else MASK
        case Options(template=str(template)):
            return public(dataclasses.replace(value, template=None)) | {"template": f"{len(template)} characters"}
        case Mapping():
            return {str(key): public(each) for key, each in value.items()}
        case tuple() | list() | frozenset():
            return [public(each) for each in value]
        case _ if dataclasses.is_dataclass(value):
            return {each.name: public(getattr(value, each.name), each.name) for each in dataclasses.fields(value)}
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _mode(path: Path) -> Any:  # noqa: ANN401 - a literal of tarfile's
    return "w:gz" if path.suffix in {".gz", ".tgz"} else "w"


def _versions() -> dict[str, str]:
    versions = {
        "pagerelay": daemon.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": sqlite.driver.sqlite_version,
    }
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE).decode()
