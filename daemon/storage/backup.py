"""Backups of a SQLite file: a copy that is consistent while a daemon writes, and its return into place.

Nothing here opens an existing database file except through SQLite: closing it would release SQLite's locks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from daemon import errors
from daemon.storage import sqlite
from daemon.storage.database import HEAD, migrations_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BESIDE = ("-wal", "-shm", "-journal")
BUSY_SECONDS = 5.0


class Owner(NamedTuple):
    """The owner and the mode of a file."""

    uid: int
    gid: int
    mode: int


def save(database: Path, file: Path) -> str:
    """Copy the database into a new file that only its owner can read; return the schema's revision.

    Raises DatabaseError, also if the file exists.
    """
    if not database.exists():
        raise errors.DatabaseError(f"the database {database} does not exist yet (start the daemon: pagerelay run)")
    _create(file)
    try:
        _copy(database, "rw", file)
        return _check(file, database)
    except BaseException:
        _remove(file)
        raise


def restore(file: Path, database: Path, previous: Path) -> str:
    """Replace the database by a backup; return the backup's schema. The caller holds the database's lock.

    The previous database becomes ``previous``. Its name leads to a whole database at every moment, so a crash leaves
    the old one or the new one. Raises DatabaseError, and then nothing has changed.
    """
    owner = _owner(database)
    if (lock := _beside(database, ".lock")).exists():  # perhaps created just now, by root
        _give(lock, owner._replace(mode=0o600))
    part = database.with_name(f"{database.name}.restoring")
    _remove(part)
    if not file.is_file():
        raise errors.DatabaseError(f"cannot read {file}: it does not exist or is not a file")
    _create(part)
    try:
        # Without a log beside it, the file is complete, and reading it creates nothing there.
        is_complete = not any(_beside(file, suffix).exists() for suffix in BESIDE)
        _copy(file, "ro&immutable=1" if is_complete else "ro", part)
        revision = _check(part, file)
        _give(part, owner)
        if database.exists():
            _keep(database, previous)
        part.replace(database)
        _sync(database.parent)
    except OSError as error:
        raise errors.DatabaseError(f"cannot write {error.filename or database}: {error.strerror}") from error
    finally:
        _remove(part)
    return revision


def _create(file: Path) -> None:
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        message = f"{file} exists already, and a backup never overwrites a file (choose another name, or remove it)"
        raise errors.DatabaseError(message) from None
    except OSError as error:
        raise errors.DatabaseError(f"cannot write {file}: {error.strerror}") from error


def _remove(file: Path) -> None:
    for suffix in ("", *BESIDE):
        _beside(file, suffix).unlink(missing_ok=True)


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


@contextlib.contextmanager
def _opened(file: Path, mode: str, named: Path | None = None) -> Iterator[Any]:
    """Open a file that exists. Raise every error of the driver as DatabaseError about it, or about ``named``."""
    try:
        uri = f"{file.absolute().as_uri()}?mode={mode}"
        with contextlib.closing(sqlite.driver.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
            yield connection
    except sqlite.driver.Error as error:
        raise errors.DatabaseError(f"{named or file}: {error}") from error


def _copy(source: Path, mode: str, destination: Path) -> None:
    """Copy in one step: a writer never waits for it, and none of its commits is half in the copy."""
    with _opened(source, mode) as old, _opened(destination, "rw", named=source) as new:
        try:
            old.backup(new, pages=-1)
        except sqlite.driver.OperationalError as error:
            if "full" in str(error):
                raise errors.DatabaseError(f"cannot write {destination}: {error} (free some space there)") from error
            raise
        new.execute("PRAGMA journal_mode=DELETE").close()  # everything is in one file


def _check(file: Path, named: Path) -> str:
    """Return the schema's revision. Raise DatabaseError, about ``named``, for damage or a schema that is not ours."""
    with _opened(file, "ro", named) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        if problems != ["ok"]:
            raise errors.DatabaseError(f"{named} is damaged: {problems[0]} (use an older backup)")
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"alembic_version", "connections", "deliveries"} <= tables:
            raise errors.DatabaseError(f"{named} is not a pagerelay database")
        revisions = [str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version")]
    known = {path.name.split("_")[0] for path in (migrations_path() / "versions").glob("[0-9]*.py")}
    revision = revisions[0] if len(revisions) == 1 else "unknown"
    if revision not in known:
        raise errors.SchemaTooNew(
            f"{named} has schema {revision}, this version of pagerelay knows up to {HEAD} "
            "(use the version that wrote it, or a newer one)"
        )
    return revision


def _owner(database: Path) -> Owner:
    """Return to whom the restored file belongs: as before, or as the folder if there was no file."""
    try:
        status = database.stat()
    except FileNotFoundError:
        status = database.parent.stat()
        return Owner(status.st_uid, status.st_gid, 0o600)
    return Owner(status.st_uid, status.st_gid, status.st_mode & 0o777)


def _give(file: Path, owner: Owner) -> None:
    status = file.stat()
    if (status.st_uid, status.st_gid) != owner[:2]:
        try:
            os.chown(file, owner.uid, owner.gid)
        except OSError:
            message = (
                f"cannot give {file} to user {owner.uid}, who owns the database (run this as that user, or as root)"
            )
            raise errors.DatabaseError(message) from None
    file.chmod(owner.mode)


def _keep(database: Path, previous: Path) -> None:
    """Give the database a second name, with everything that is in its log.

    A log that stayed behind would be applied to the restored file, and damage it. SQLite removes the log of a file that
    it cannot read, so it is kept first.
    """
    log = _beside(database, "-wal")
    if log.exists():
        _link(log, _beside(previous, "-wal"))
    try:
        with _opened(database, "rw") as connection:
            connection.execute("PRAGMA journal_mode=DELETE").close()
    except errors.DatabaseError as error:
        if "locked" in str(error):
            _beside(previous, "-wal").unlink(missing_ok=True)
            message = f"{database} is in use by another command (wait until it ends, then restore again)"
            raise errors.DatabaseError(message) from error
    else:
        _beside(previous, "-wal").unlink(missing_ok=True)
    _link(database, previous)
    for suffix in BESIDE:
        _beside(database, suffix).unlink(missing_ok=True)


def _link(file: Path, name: Path) -> None:
    """Give a file a second name, or copy it where there are no hard links."""
    try:
        name.hardlink_to(file)
    except OSError:
        shutil.copy2(file, name)


def _sync(folder: Path) -> None:
    """Make the new names survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
