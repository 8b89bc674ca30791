"""A daemon that is told to end while its database does not answer, or is gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon import app
from tests.cli import forked
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Postgres

PATIENCE = 20.0


class Way:
    """A way over TCP to a server's socket, which can stop to carry anything, or be gone."""

    def __init__(self, there: str) -> None:
        self._there = there
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._there)
                self._ends += [here, far]
                for one, other in ((here, far), (far, here)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self._open.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def freeze(self) -> None:
        """Carry nothing more, and say nothing of it."""
        self._open.clear()

    def vanish(self) -> None:
        """Be gone: who is connected is thrown out, nobody comes in."""
        self._open.set()
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def on_the_way(postgres: Postgres, folder: Path, first: str = "") -> Iterator[tuple[Way, subprocess.Popen[str]]]:
    """Yield a daemon that has started, and its way to a database of its own."""
    own = sa.make_url(postgres.new())
    host = own.query["host"]
    assert isinstance(host, str)
    way = Way(f"{host}/.s.PGSQL.{own.port or 5432}")
    url = own.set(drivername="postgresql", host="127.0.0.1", port=way.port, query={"sslmode": "disable"})
    configuration = sample_data.settings(folder, url.render_as_string(hide_password=False)).source
    command = [forked.pagerelay(), "-c", str(configuration), "run"]
    env = os.environ | {forked.FIRST: first}
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            next(line for line in daemon.stderr if json.loads(line)["event"] == "daemon.started")
            yield way, daemon
        finally:
            daemon.kill()
            way.vanish()


def ended(daemon: subprocess.Popen[str]) -> tuple[int, list[str], float]:
    """Return the status with which it ended, what it said until then, and how long that took."""
    began = time.monotonic()
    daemon.terminate()
    _, output = daemon.communicate(timeout=PATIENCE)
    return daemon.returncode, [json.loads(line)["event"] for line in output.splitlines()], time.monotonic() - began


def test_a_hanging_database_does_not_delay_the_end_of_the_daemon(postgres: Postgres, tmp_path: Path) -> None:
    assert timedelta(seconds=9) < app.LONGEST_END < timedelta(seconds=10)
    with on_the_way(postgres, tmp_path, forked.HASTY) as (way, daemon):
        way.freeze()
        status, output, seconds = ended(daemon)
    assert (status, output[-1]) == (0, "daemon.abandoned")
    assert seconds < 5


def test_a_daemon_ends_cleanly_after_its_database_is_gone(postgres: Postgres, tmp_path: Path) -> None:
    with on_the_way(postgres, tmp_path) as (way, daemon):
        way.vanish()
        status, output, _seconds = ended(daemon)
    assert (status, output[-1]) == (0, "daemon.stopped")
    assert "daemon.deregistration_failed" in output
