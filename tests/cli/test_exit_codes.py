"""With which exit code ``pagerelay run`` ends: the systemd unit restarts it unless only a person can mend the cause."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.storage.database import Database
from tests.cli import forked
from tests.harness import sample_data

if TYPE_CHECKING:
    from tests.conftest import Postgres

UNIT = Path(__file__).parents[2] / "systemd" / "pagerelay.service"
MENDED_BY_A_RESTART, FOR_A_PERSON = 1, 2
REFUSED = "def refuse(*_, **__): raise PermissionError(13, 'Permission denied')\n"


def run(configuration: Path, first: str = "", **environment: str) -> tuple[int, str]:
    """Return the exit code of ``pagerelay run``, which cannot start, and what it wrote."""
    env = os.environ | {forked.FIRST: first} | environment
    command = [forked.pagerelay(), "-c", str(configuration), "run"]
    done = subprocess.run(command, env=env, cwd=configuration.parent, capture_output=True, text=True, timeout=60)  # noqa: PLW1510 - the caller looks at the code
    return done.returncode, done.stdout + done.stderr


def on_sqlite(folder: Path) -> Path:
    return sample_data.settings(folder, f"sqlite:///{folder / 'pagerelay.db'}").source


def test_the_unit_restarts_it_unless_only_a_person_can_help() -> None:
    (never,) = re.findall(r"^RestartPreventExitStatus=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert str(FOR_A_PERSON) in never.split()
    assert str(MENDED_BY_A_RESTART) not in never.split()


def test_a_mistake_in_the_configuration_is_for_a_person(tmp_path: Path) -> None:
    path = on_sqlite(tmp_path)
    path.write_text(f"{path.read_text()}\nnonsense: 1\n")
    code, text = run(path)
    assert (code, "nonsense: unknown key" in text) == (FOR_A_PERSON, True)


def test_a_missing_credential_is_for_a_person(tmp_path: Path) -> None:
    path = on_sqlite(tmp_path)
    missing = "${file:/run/credentials/pagerelay.service/token}"
    path.write_text(path.read_text().replace("canary-key-1", f'"{missing}"'))
    code, text = run(path)
    assert (code, "LoadCredential=token:" in text) == (FOR_A_PERSON, True)


def test_a_schema_of_a_later_version_is_for_a_person(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    database.upgrade()
    database.write_now(lambda tx: tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")) and None)
    database.close()
    code, text = run(sample_data.settings(tmp_path, database_url).source)
    assert (code, "install the version that wrote it" in text) == (FOR_A_PERSON, True)


def test_an_encoding_that_cannot_store_all_texts_is_for_a_person(postgres: Postgres, tmp_path: Path) -> None:
    with postgres._admin.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE encoded ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"))
    code, text = run(sample_data.settings(tmp_path, postgres.url("encoded")).source)
    assert (code, "has the encoding LATIN1" in text) == (FOR_A_PERSON, True)


def test_a_role_without_rights_is_for_a_person(postgres: Postgres, tmp_path: Path) -> None:
    with postgres._admin.connect() as connection:
        connection.execute(sa.text("CREATE ROLE without_rights LOGIN"))
    url = sa.make_url(postgres.new()).set(username="without_rights").render_as_string(hide_password=False)
    code, text = run(sample_data.settings(tmp_path, url).source)
    assert (code, "permission denied" in text) == (FOR_A_PERSON, True)


def test_a_file_that_is_no_database_is_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "pagerelay.db").write_text("This is a text, and longer than the head of a database. " * 20)
    code, text = run(on_sqlite(tmp_path))
    assert (code, "file is not a database" in text) == (FOR_A_PERSON, True)


def test_a_database_file_of_another_user_is_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "pagerelay.db").touch()
    # These tests may run as root, who may write every file.
    code, text = run(
        on_sqlite(tmp_path), "import os; os.access = lambda path, *_, **__: 'pagerelay.db' not in str(path)"
    )
    assert (code, "it belongs to another user (run: chown" in text) == (FOR_A_PERSON, True)


def test_a_folder_of_another_user_is_for_a_person(tmp_path: Path) -> None:
    first = """
import os
def refuse(path, *rest, real=os.open, **more):
    if str(path).endswith(".lock"):
        raise PermissionError(13, "Permission denied")
    return real(path, *rest, **more)
os.open = refuse
"""
    code, text = run(on_sqlite(tmp_path), first)
    assert (code, "give the daemon a directory that it may write to" in text) == (FOR_A_PERSON, True)


def test_a_port_that_is_not_allowed_is_for_a_person(tmp_path: Path) -> None:
    code, text = run(on_sqlite(tmp_path), f"{REFUSED}import socket; socket.create_server = refuse")
    assert (code, "Permission denied (choose another port" in text) == (FOR_A_PERSON, True)


def test_a_port_that_is_in_use_may_be_free_after_a_restart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code, text = run(on_sqlite(tmp_path), PAGERELAY_API__LISTEN=f"127.0.0.1:{listener.getsockname()[1]}")
    assert (code, "Address already in use" in text) == (MENDED_BY_A_RESTART, True)


def test_a_database_server_that_is_not_there_may_be_there_after_a_restart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, _ = run(sample_data.settings(tmp_path, f"postgresql://pagerelay@127.0.0.1:{port}/pagerelay").source)
    assert code == MENDED_BY_A_RESTART


def test_a_database_file_in_use_or_on_a_disk_that_is_not_mounted_may_be_usable_after_a_restart(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'pagerelay.db'}")
    database.lock()
    code, text = run(on_sqlite(tmp_path))
    database.close()
    assert (code, "is in use by another pagerelay daemon" in text) == (MENDED_BY_A_RESTART, True)
    code, text = run(sample_data.settings(tmp_path, f"sqlite:///{tmp_path}/disk/pagerelay.db").source)
    assert (code, "No such file or directory" in text) == (MENDED_BY_A_RESTART, True)
