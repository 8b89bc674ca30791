"""A ``pagerelay`` for scripts that starts at once: a process that has imported everything forks for each command.

The interpreter's imports take longer than any command does. Arguments, folder, environment, standard streams and
exit code are those of a process of its own; the code is the checkout's.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "daemon.cli.action",
    "daemon.cli.actions",
    "daemon.cli.api_client",
    "daemon.cli.database",
    "daemon.cli.operations",
    "daemon.cli.outcome",
    "daemon.cli.pick_lists",
    "daemon.config",
    "daemon.storage.action_queue",
    "daemon.views.action_list",
    "httpcore",
)
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    socket.send_fds(server, [b"+"], [0, 1, 2])
    server.sendall(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(3)))
"""


@contextlib.contextmanager
def pagerelay(folder: Path) -> Iterator[None]:
    """Put an executable ``pagerelay`` into the folder, which works until the end of the block."""
    path = folder / "socket"
    client = folder / "pagerelay"
    client.write_text(CLIENT.format(python=sys.executable, path=str(path)), encoding="utf-8")
    client.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forked", str(listening.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
        )
    try:
        yield
    finally:
        server.kill()
        server.wait()


def serve(listening: socket.socket) -> NoReturn:
    """Fork for each command, one after the other."""
    for module in PRELOADED:
        importlib.import_module(module)
    while True:
        client, _ = listening.accept()
        with client:
            _, streams, _, _ = socket.recv_fds(client, 1, 3)
            arguments, folder, environment = json.load(client.makefile())
            pid = os.fork()
            if pid == 0:
                listening.close()
                client.close()
                for stream, number in zip(streams, (0, 1, 2), strict=True):
                    os.dup2(stream, number)
                run(arguments, folder, environment)
            for stream in streams:
                os.close(stream)
            client.sendall(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def run(arguments: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """Run a command, as its console script does, on streams of its own: the server's are of another kind of file."""
    cli = importlib.import_module("daemon.cli")
    sys.argv = arguments
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - open until the process ends
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(cli.main())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
