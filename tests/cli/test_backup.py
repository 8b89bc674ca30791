"""``db backup`` and ``db restore``: a copy of what is committed, and nothing lost when something is wrong."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from daemon import errors
from daemon.storage import backup, schema, sqlite
from daemon.storage.database import HEAD, Database, system_clock
from tests.cli.conftest import Call, calling
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa


@pytest.fixture
def path(tmp_path: Path, sqlite_template: Path) -> Path:
    """Return a filled database."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "pagerelay.db"
    shutil.copy(sqlite_template, path)
    path.chmod(0o640)
    with_database(path, lambda tx: sample_data.fill(tx, system_clock()))
    return path


@pytest.fixture
def command(tmp_path: Path, path: Path) -> Call:
    return calling(sample_data.settings(tmp_path, f"sqlite:///{path}").source)


def with_database(path: Path, change: Any) -> None:
    """Write to a database."""
    database = Database(f"sqlite:///{path}")
    database.write_now(change)
    database.close()


def rows(path: Path) -> dict[str, list[sa.Row[Any]]]:
    """Return every row of every table."""
    database = Database(f"sqlite:///{path}")
    tables = {table.name: database.read_now(_all, table) for table in schema.metadata.sorted_tables}
    database.close()
    return tables


def _all(tx: sa.Connection, table: sa.Table) -> list[sa.Row[Any]]:
    return list(tx.execute(table.select().order_by(*table.primary_key.columns)))


def names(folder: Path) -> set[str]:
    """Return the files of a folder."""
    return {each.name for each in folder.iterdir()}


def test_a_backup_is_one_private_file_with_every_row(command: Call, path: Path, tmp_path: Path) -> None:
    open_daemon = Database(f"sqlite:///{path}")
    open_daemon.lock()
    open_daemon.write_now(lambda tx: tx.execute(schema.targets.update().values(last_error="only in the log")) and None)
    (tmp_path / "backups").mkdir()
    file = tmp_path / "backups" / "one.db"
    result = command("db", "backup", str(file))
    open_daemon.close()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"saved the database with schema {HEAD} in {file} (")
    assert names(file.parent) == {"one.db"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert rows(file) == rows(path)


def test_a_backup_never_overwrites_a_file(command: Call, tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("precious")
    result = command("db", "backup", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"{file} exists already, and a backup never overwrites a file (choose another name, or remove it)\n"
    )
    assert file.read_text() == "precious"


class Load:
    """A daemon's writer: each transaction records an event and its message."""

    def __init__(self, path: Path) -> None:
        self._database = Database(f"sqlite:///{path}")
        self._stop = threading.Event()
        self._progress = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 100
        while not self._stop.is_set():
            number += 1
            self._database.write_now(self._add, number)
            self._progress.release()

    @staticmethod
    def _add(tx: sa.Connection, number: int) -> None:
        now = system_clock()
        sample_data.insert(tx, schema.events, sample_data.event(number, now))
        sample_data.insert(tx, schema.messages, sample_data.message(number, now))

    def wait(self) -> None:
        """Wait until twenty more transactions are committed, from now on."""
        while self._progress.acquire(blocking=False):
            pass
        for _ in range(20):
            assert self._progress.acquire(timeout=30)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._database.close()


@pytest.fixture
def load(path: Path) -> Iterator[Load]:
    load = Load(path)
    yield load
    load.end()


def test_a_backup_under_load_has_whole_transactions_and_is_restored_row_by_row(
    command: Call, path: Path, load: Load, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.db" for number in range(3)]
    for file in files:
        load.wait()
        assert command("db", "backup", str(file)).exit_code == 0
    load.wait()
    load.end()
    contents = [rows(file) for file in files]
    for saved in contents:
        assert len(saved["events"]) == len(saved["messages"]) > 20
    assert (
        len(contents[0]["events"]) < len(contents[1]["events"]) < len(contents[2]["events"]) < len(rows(path)["events"])
    )

    before = rows(path)
    result = command("db", "restore", str(files[1]))
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first == f"restored {path} with schema {HEAD} from {files[1]}"
    assert rows(path) == contents[1]
    (previous,) = path.parent.glob("pagerelay.db.before-*")
    assert str(previous) in second
    assert rows(previous) == before


def test_a_restored_file_keeps_mode_and_owner_and_has_no_log_of_its_predecessor(
    command: Call, path: Path, tmp_path: Path
) -> None:
    assert command("db", "backup", str(tmp_path / "one.db")).exit_code == 0
    saved = rows(path)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    with_open_log = Database(f"sqlite:///{path}")
    with_open_log.write_now(lambda tx: tx.execute(schema.deliveries.delete()) and None)
    log = path.with_name("pagerelay.db-wal").read_bytes()
    with_open_log.close()
    path.with_name("pagerelay.db-wal").write_bytes(log)  # as after a kill -9
    assert command("db", "restore", str(tmp_path / "one.db")).exit_code == 0
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    if os.geteuid() == 0:
        assert (status.st_uid, status.st_gid) == (12345, 12345)
        assert path.with_name("pagerelay.db.lock").stat().st_uid == 12345
    assert not any(path.with_name(f"pagerelay.db{each}").exists() for each in ("-wal", "-shm", "-journal"))
    assert rows(path) == saved


def test_a_restore_where_no_database_is_creates_a_private_one(command: Call, path: Path, tmp_path: Path) -> None:
    assert command("db", "backup", str(tmp_path / "one.db")).exit_code == 0
    saved = rows(path)
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    result = command("db", "restore", str(tmp_path / "one.db"))
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert rows(path) == saved


def test_a_damaged_database_is_kept_in_all_its_parts(command: Call, path: Path, tmp_path: Path) -> None:
    assert command("db", "backup", str(tmp_path / "one.db")).exit_code == 0
    saved = rows(path)
    path.write_bytes(b"not SQLite at all" * 1000)
    path.with_name("pagerelay.db-wal").write_bytes(b"its log")
    assert command("db", "restore", str(tmp_path / "one.db")).exit_code == 0
    previous = {each.name.partition("Z")[2]: each.read_bytes() for each in path.parent.glob("*.before-*")}
    assert previous == {"": b"not SQLite at all" * 1000, "-wal": b"its log"}
    assert rows(path) == saved


def test_a_restore_is_refused_while_a_daemon_runs(command: Call, path: Path, tmp_path: Path) -> None:
    assert command("db", "backup", str(tmp_path / "one.db")).exit_code == 0
    daemon = Database(f"sqlite:///{path}")
    daemon.lock()
    result = command("db", "restore", str(tmp_path / "one.db"))
    daemon.close()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{path} is in use by a running daemon (stop it first, then restore)\n"
    assert names(path.parent) == {"pagerelay.db", "pagerelay.db.lock"}


def test_a_restore_is_refused_while_a_command_reads(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.db"
    backup.save(path, file)
    reader = sqlite.driver.connect(path)
    reader.execute("BEGIN").close()
    reader.execute("SELECT count(*) FROM events").fetchall()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "BUSY_SECONDS", 0.05)
        with pytest.raises(errors.DatabaseError, match=r"in use by another command \(wait until it ends"):
            backup.restore(file, path, path.with_name("kept"))
    reader.close()
    assert not {"kept", "pagerelay.db.restoring"} & names(path.parent)


def _damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(content)


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20000])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _text(file: Path) -> None:
    file.write_text("database: none\n" * 100)


def _foreign(file: Path) -> None:
    file.unlink()
    with sqlite.driver.connect(file) as other:
        other.execute("CREATE TABLE connections (name TEXT)").close()
    other.close()


def _too_new(file: Path) -> None:
    with sqlite.driver.connect(file) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'").close()
    other.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_damaged, "damaged|malformed"),
        (_truncated, "damaged|malformed"),
        (_empty, "is not a pagerelay database"),
        (_text, "file is not a database"),
        (_foreign, "is not a pagerelay database"),
        (_too_new, f"has schema 9999, this version of pagerelay knows up to {HEAD}"),
        (os.unlink, "it does not exist or is not a file"),
    ],
)
def test_a_file_that_is_no_good_backup_changes_nothing(
    command: Call, path: Path, tmp_path: Path, change: Any, message: str
) -> None:
    file = tmp_path / "one.db"
    assert command("db", "backup", str(file)).exit_code == 0
    before, inode = rows(path), path.stat().st_ino
    change(file)
    result = command("db", "restore", str(file))
    assert (result.exit_code, result.stdout) == (2 if change is _too_new else 1, "")
    assert len(result.stderr.splitlines()) == 1
    assert str(file) in result.stderr
    assert any(each in result.stderr for each in message.split("|"))
    assert (rows(path), path.stat().st_ino) == (before, inode)
    assert names(path.parent) == {"pagerelay.db", "pagerelay.db.lock"}


def test_a_backup_of_a_previous_version_is_restored_for_the_daemon_to_upgrade(
    command: Call, path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "old.db"
    assert command("db", "backup", str(file)).exit_code == 0
    with sqlite.driver.connect(file) as old:
        old.execute("UPDATE alembic_version SET version_num = '0001'").close()
    old.close()
    assert "with schema 0001" in command("db", "restore", str(file)).stdout


def test_without_a_database_there_is_nothing_to_back_up(command: Call, path: Path, tmp_path: Path) -> None:
    path.unlink()
    result = command("db", "backup", str(tmp_path / "one.db"))
    assert (result.exit_code, result.stderr) == (
        1,
        f"the database {path} does not exist yet (start the daemon: pagerelay run)\n",
    )
    assert not (tmp_path / "one.db").exists()


@pytest.mark.parametrize(("command_name", "instead"), [("backup", "pg_dump"), ("restore", "pg_restore")])
def test_for_postgresql_the_command_to_use_is_named(tmp_path: Path, command_name: str, instead: str) -> None:
    source = sample_data.settings(tmp_path, "postgresql://pagerelay:canary-password@127.0.0.1:1/pagerelay").source
    result = calling(source)("db", command_name, str(tmp_path / "one.dump"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"its own command for this: {instead} " in result.stderr
    assert "canary" not in result.stderr
