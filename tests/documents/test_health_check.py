"""The image's health check, run as it stands in the Dockerfile: by bash, without a Python."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8")


def command(port: int) -> list[str]:
    """Return the command of the health check, for a daemon at this port."""
    (text,) = re.findall(r"^HEALTHCHECK [^[]*CMD (\[.*\])$", DOCKERFILE.replace("\\\n", ""), re.MULTILINE)
    words: list[str] = json.loads(text)
    assert "/dev/tcp/127.0.0.1/8421" in words[-1], "the default of api.listen"
    return [*words[:-1], words[-1].replace("8421", str(port))]


def check(port: int) -> int:
    """Return the exit code."""
    return subprocess.run(
        command(port), capture_output=True, check=False, timeout=20, env={"PATH": "/bin:/usr/bin"}
    ).returncode


@pytest.mark.parametrize(
    ("response", "healthy"),
    [
        (b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"ok"}', True),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", False),
        (b"", False),
    ],
)
def test_the_health_check_succeeds_only_on_200(response: bytes, healthy: bool) -> None:  # noqa: FBT001 - a parameter
    with socket.create_server(("127.0.0.1", 0)) as server:
        request: list[bytes] = []

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                while not b"".join(request).endswith(b"\r\n\r\n"):
                    request.append(connection.recv(1024))
                connection.sendall(response)

        thread = threading.Thread(target=answer)
        thread.start()
        assert (check(server.getsockname()[1]) == 0) is healthy
        thread.join()
    assert b"".join(request) == b"GET /healthz HTTP/1.0\r\n\r\n"


def test_the_health_check_fails_where_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert check(port) != 0
