"""Processes of ``pagerelay`` that start at once: a process that has imported everything forks for each of them.

The interpreter's imports take longer than any command does. Arguments, folder, environment, standard streams and
exit code are those of a process of its own; the code is the checkout's. What only a new interpreter shows (what it
imports, a terminal of its own) needs a process that was not forked.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import gc
import importlib
import json
import os
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
FIRST = "FORKED_FIRST"  # an environment variable: Python code to run before the command
# The end of a daemon whose threads hang, in a second instead of almost ten.
HASTY = "from datetime import timedelta as t; from daemon import app; app.GRACE, app.LONGEST_END = t(0, 0.5), t(0, 1)"
FORWARDED = ("SIGINT", "SIGTERM")
PRELOADED = (
    "daemon.api.application",
    "daemon.api.server",
    "daemon.app",
    "daemon.cli.action",
    "daemon.cli.actions",
    "daemon.cli.api_client",
    "daemon.cli.check",
    "daemon.cli.database",
    "daemon.cli.events",
    "daemon.cli.operations",
    "daemon.cli.outcome",
    "daemon.cli.pick_lists",
    "daemon.cli.run",
    "daemon.cli.status",
    "daemon.config",
    "daemon.runtime.log",
    "daemon.storage.action_queue",
    "daemon.views.action_list",
    "alembic.command",
    "httpcore",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "uvloop",
)
# Stands for the process, to which it passes signals on; the process ends with it.
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    socket.send_fds(server, [b"+"], [0, 1, 2])
    server.sendall(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    answers = server.makefile()
    pid = int(answers.readline())
    for name in {forwarded!r}:
        signal.signal(getattr(signal, name), lambda number, _: os.kill(pid, number))
    sys.exit(int(answers.readline()))
"""


def pagerelay() -> str:
    """Return the path of an executable ``pagerelay``."""
    return str(_server() / "pagerelay")


def path() -> str:
    """Return a search path that begins with the folder of that ``pagerelay``."""
    return f"{_server()}:{os.environ['PATH']}"


class Process:
    """A running ``pagerelay``, with the part of ``subprocess.Popen`` that ``kill -9`` and its like need."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: int | None = None
    ) -> None:
        """Start it; ``output`` is the descriptor of the file that its standard output and standard error go to."""
        if output is None:
            output = _nothing()
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(_server() / "socket"))
        socket.send_fds(self._connection, [b"+"], [output, output, output])
        request = [["pagerelay", *arguments], str(folder), dict(environment)]
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self._answers = self._connection.makefile()
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the process has ended."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("pagerelay", timeout or 0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


@functools.cache
def _nothing() -> int:
    return os.open(os.devnull, os.O_RDWR)


@functools.cache
def _server() -> Path:
    """Start the server, which ends with this process; return the folder with its socket and the executable."""
    folder = Path(tempfile.mkdtemp(prefix="pagerelay-forked-"))
    path = folder / "socket"
    client = folder / "pagerelay"
    text = CLIENT.format(python=sys.executable, path=str(path), forwarded=FORWARDED)
    client.write_text(text, encoding="utf-8")
    client.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forked", str(listening.fileno())],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
        )

    def end() -> None:
        server.communicate()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return folder


class Server:
    """Forks for each client, and lets nothing that it started live longer than its client."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ)
        self._selector.register(listening, selectors.EVENT_READ)
        self._clients: dict[int, socket.socket] = {}  # by the process's pid

    def serve(self) -> None:
        """Serve until standard input ends."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == 0:
                    return
                if key.fileobj is self._listening:
                    self._start()
                elif isinstance(key.fileobj, int):
                    self._report(key.fileobj, pid=key.data)
                elif key.data in self._clients:  # the client is gone
                    self._selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)

    def _start(self) -> None:
        """Fork a process for a client."""
        client, _ = self._listening.accept()
        _, streams, _, _ = socket.recv_fds(client, 1, 3)
        with client.makefile() as request:
            arguments, folder, environment = json.loads(request.readline())
        pid = os.fork()
        if pid == 0:
            client.close()
            self._close()
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it
            for stream, number in zip(streams, (0, 1, 2), strict=True):
                os.dup2(stream, number)
                os.close(stream)
            run(arguments, folder, environment)
        for stream in streams:
            os.close(stream)
        self._clients[pid] = client
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
        self._selector.register(client, selectors.EVENT_READ, pid)
        _tell(client, pid)

    def _report(self, descriptor: int, *, pid: int) -> None:
        """Tell a client the exit code of its process."""
        self._selector.unregister(descriptor)
        os.close(descriptor)
        client = self._clients.pop(pid)
        with contextlib.suppress(KeyError):
            self._selector.unregister(client)
        _tell(client, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        client.close()

    def _close(self) -> None:
        """Close everything that is the server's, in a process that it forked."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, int) and key.fileobj != 0:
                os.close(key.fileobj)
        for each in (self._listening, *self._clients.values()):
            each.close()
        self._selector.close()


def _tell(client: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        client.sendall(f"{number}\n".encode())


def run(arguments: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """Run a command, as its console script does, on streams of its own: the server's are of another kind of file.

    Ends without Python's last steps, which would copy all memory that is shared with the server.
    """
    cli = importlib.import_module("daemon.cli")
    sys.argv = arguments
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - open until the process ends
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    exec(os.environ.pop(FIRST, ""))
    code: object = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code or 0
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def main() -> None:
    """Serve on the socket whose descriptor is the argument."""
    listening = socket.socket(fileno=int(sys.argv[1]))
    for module in PRELOADED:
        importlib.import_module(module)
    faulthandler.enable()
    gc.freeze()
    Server(listening).serve()


if __name__ == "__main__":
    main()
