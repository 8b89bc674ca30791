"""The database: reachable, writable, of a sound version, with room to grow."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon import errors
from daemon.control.doctor.finding import Topic, split
from daemon.storage import postgres, schema, sqlite
from daemon.storage.database import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.control.doctor.examination import Examination
    from daemon.control.doctor.finding import Finding
    from daemon.storage.database import Database

MOUNTS = Path("/proc/self/mountinfo")
# Locks and shared memory, on which WAL relies, do not work between machines on these, and not always on one.
NETWORK = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "smb3", "smbfs"),
    )
)
MEBIBYTE = 2**20
LOW = 1024 * MEBIBYTE
TOO_LOW = 100 * MEBIBYTE
MOUNT_POINT, SEPARATOR = 4, "-"  # fields of a line of mountinfo; the type follows the separator


async def check(examination: Examination) -> list[Finding]:
    """Return the state of the database. Without access to it there is a single finding."""
    database = examination.database
    topic = Topic(database.url.get_backend_name())
    if not exists(database):
        return [*_around(database, topic), _missing(database, topic)]
    try:
        revision = await database.read(lambda _tx: database.version())
        findings = [topic.ok("database.connection", "reachable"), *await database.read(_server, topic)]
    except errors.DatabaseError as error:
        return [
            topic.fail_with(
                "database.connection", error, "check database.url, and that the server or the file is usable"
            )
        ]
    schema_finding = _schema(revision, topic)
    findings += [schema_finding, await _writable(database, topic, has_tables=revision is not None)]
    return findings + _around(database, topic)


def exists(database: Database) -> bool:
    """Return whether there may be a database to connect to: connecting to a SQLite file would create it."""
    return not database.is_sqlite or Path(database.url.database or "").exists()


async def is_usable(database: Database) -> bool:
    """Return whether this version can read and write the database, as far as that is known without a change."""
    try:
        return exists(database) and await database.read(lambda _tx: database.version()) == HEAD
    except errors.DatabaseError:
        return False


def _missing(database: Database, topic: Topic) -> Finding:
    folder = Path(database.url.database or "").absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = "create it, and let the daemon write to it; or change database.url"
        return topic.fail("database.connection", f"cannot create a file in {folder}", remedy)
    return topic.warn(
        "database.connection", f"{database.url.database} does not exist yet", "start the daemon: pagerelay run"
    )


def _server(tx: sa.Connection, topic: Topic) -> list[Finding]:
    """Return what the server, or SQLite, is like."""
    if tx.dialect.name == "sqlite":
        encoding = str(tx.exec_driver_sql("PRAGMA encoding").scalar_one())
        version = f"SQLite {sqlite.driver.sqlite_version}"
        weakness = sqlite.warning()
    else:
        encoding = str(tx.exec_driver_sql("SHOW server_encoding").scalar_one())
        version = f"PostgreSQL {tx.exec_driver_sql('SHOW server_version').scalar_one()}"
        weakness = None
    findings = [_encoding(encoding, topic)]
    if weakness is None:
        return [*findings, topic.ok("database.version", version)]
    found, remedy = split(weakness)
    return [*findings, topic.warn("database.version", found, remedy)]


def _encoding(encoding: str, topic: Topic) -> Finding:
    if encoding in {"UTF-8", "UTF8"}:
        return topic.ok("database.encoding", encoding)
    found = f"{encoding}, which SQLite cannot change" if encoding.startswith("UTF-16") else encoding
    return topic.warn("database.encoding", found, "create a new database, which will use UTF-8")


def _schema(revision: str | None, topic: Topic) -> Finding:
    name = "database.schema"
    if revision is None:
        return topic.warn(name, "no tables yet", "start the daemon, or run: pagerelay db upgrade")
    if revision > HEAD:
        remedy = "install the version that wrote it, or a newer one"
        return topic.fail(name, f"{revision}, but this version of pagerelay knows up to {HEAD}", remedy)
    if revision < HEAD:
        remedy = "restart the daemon, which upgrades it, or run: pagerelay db upgrade"
        return topic.warn(name, f"{revision}, older than {HEAD}", remedy)
    return topic.ok(name, revision)


def write_nothing(tx: sa.Connection) -> str | None:
    """Write without a change: what is deleted does not exist. Return why the server takes no writes, or None."""
    reason = _read_only(tx)
    if reason is None:
        tx.execute(schema.instances.delete().where(sa.false()))
    return reason


def _read_only(tx: sa.Connection) -> str | None:
    return None if tx.dialect.name == "sqlite" else postgres.read_only_reason(tx)


async def _writable(database: Database, topic: Topic, *, has_tables: bool) -> Finding:
    name = "database.writable"
    remedy = "let the daemon's user write to the file and its directory, or connect to a server that accepts writes"

    try:
        reason = await (database.write(write_nothing) if has_tables else database.write(_read_only)) or _read_only_file(
            database
        )
    except errors.DatabaseError as error:
        return topic.fail_with(name, error, remedy)
    return topic.ok(name, "writable") if reason is None else topic.fail(name, reason, remedy)


def _read_only_file(database: Database) -> str | None:
    if not database.is_sqlite:
        return None
    file = Path(database.url.database or "").absolute()
    return next((f"{path} cannot be written" for path in (file, file.parent) if not os.access(path, os.W_OK)), None)


def _around(database: Database, topic: Topic) -> list[Finding]:
    """Return what is around a SQLite file: the room on its disk, and the kind of its file system."""
    if not database.is_sqlite:
        return []
    folder = Path(database.url.database or "").absolute().parent
    try:
        free = shutil.disk_usage(folder).free
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []  # no such directory, which is reported as a database that cannot be created, or no /proc
    return [_disk(free, topic), _file_system(file_system(folder.resolve(), mounts), topic)]


def _disk(free: int, topic: Topic) -> Finding:
    found = f"{free / MEBIBYTE:,.0f} MiB free"
    remedy = "free some space, or shorten database.retention"
    if free < TOO_LOW:
        return topic.fail("database.disk", found, remedy)
    return topic.warn("database.disk", found, remedy) if free < LOW else topic.ok("database.disk", found)


def _file_system(kind: str | None, topic: Topic) -> Finding:
    if kind in NETWORK:
        remedy = "move the file to a local disk, or use PostgreSQL"
        return topic.fail("database.file_system", f"{kind}, on which SQLite's WAL is unsafe", remedy)
    return topic.ok("database.file_system", kind or "unknown")


def file_system(folder: Path, mounts: str) -> str | None:
    """Return the type of the file system that holds a folder, according to the text of /proc/self/mountinfo."""
    best = max(_types(folder, mounts), default=None, key=lambda each: len(each[0]))
    return None if best is None else best[1]


def _types(folder: Path, mounts: str) -> Iterator[tuple[str, str]]:
    """Yield the mount points above a folder, and their types; of equal ones the last is in effect."""
    for line in reversed(mounts.splitlines()):
        fields = line.split()
        point = fields[MOUNT_POINT].encode().decode("unicode_escape")  # a space is written as \\040
        if folder.is_relative_to(point):
            yield point, fields[fields.index(SEPARATOR) + 1]
