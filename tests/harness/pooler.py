"""PgBouncer in transaction mode in front of the tests' PostgreSQL server, as platform teams run it."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tests.harness import eventually

if TYPE_CHECKING:
    from tests.harness.certificates import Authority

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
USER = "postgres"
ATTEMPTS = 5  # at a port that nobody else takes in between
# Fewer sessions than a daemon opens, so that consecutive transactions of one client run in different ones.
CONFIGURATION = """[databases]
* = host={server} user={user}
[pgbouncer]
unix_socket_dir = {folder}
listen_addr = {address}
listen_port = {port}
auth_type = {auth}
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 3
max_client_conn = 500
server_idle_timeout = 2
logfile = {folder}/log
"""
TLS = """client_tls_sslmode = verify-full
client_tls_cert_file = {folder}/server.pem
client_tls_key_file = {folder}/server.key
client_tls_ca_file = {folder}/clients.pem
"""


class Pooler:
    """A running PgBouncer in front of the server with this URL, which listens on a socket.

    With authorities (of servers, of clients) it listens on TCP, and accepts only TLS with a certificate for ``USER``.
    """

    def __init__(self, server: str, tls: tuple[Authority, Authority] | None = None) -> None:
        assert PROGRAM is not None
        self._folder = Path(tempfile.mkdtemp(prefix="pagerelay-pooler-"))
        self._server = str(sa.make_url(server).query["host"])
        (self._folder / "users").write_text(f'"{USER}" ""\n')
        if tls is not None:
            tls[0].issue("127.0.0.1").written(self._folder, "server")
            (self._folder / "clients.pem").write_text(tls[1].pem)
        self._over_tls = tls is not None
        self._port, self._process = self._started()

    def url(self, server: str) -> str:
        """Return the URL of a database on the server behind it, through the pooler."""
        url = sa.make_url(server)
        if self._over_tls:
            return url.set(host="127.0.0.1", port=self._port, query={}).render_as_string(hide_password=False)
        query = {"host": str(self._folder), "port": str(self._port)}
        return url.set(query=query).render_as_string(hide_password=False)

    def stop(self) -> None:
        """End it and remove its files."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self) -> tuple[int, subprocess.Popen[bytes]]:
        """Start it; return its port, which without TLS is only part of the socket's name."""
        for _ in range(ATTEMPTS):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port: int = free.getsockname()[1]
            process = subprocess.Popen(self._command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            ready = functools.partial(_has_begun, process, self._folder / f".s.PGSQL.{port}")
            eventually.eventually_in_thread(ready)
            if process.poll() is None:
                return port, process
        raise AssertionError((self._folder / "log").read_text())

    def _command(self, port: int) -> list[str]:
        path = self._folder / "pgbouncer.ini"
        text = CONFIGURATION + (TLS if self._over_tls else "")
        address, auth = ("127.0.0.1", "cert") if self._over_tls else ("", "any")
        values = {"folder": self._folder, "server": self._server, "user": USER, "port": port}
        path.write_text(text.format(address=address, auth=auth, **values))
        command = [str(PROGRAM), "--quiet", str(path)]
        if os.geteuid() != 0:
            return command
        # It refuses to run as root, and so does the server: the server's user may read its socket.
        owner = Path(self._server).stat()
        for each in (self._folder, *self._folder.iterdir()):
            os.chown(each, owner.st_uid, owner.st_gid)
        self._folder.chmod(0o755)
        return ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups", *command]


def _has_begun(process: subprocess.Popen[bytes], place: Path) -> bool:
    """Return whether the process listens, or has ended."""
    return process.poll() is not None or place.exists()
