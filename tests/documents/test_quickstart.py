"""What a newcomer pastes from docs/quickstart.md leads to a receiver that prints a message."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from daemon import config
from daemon.config import env_file

DOCUMENT = Path(__file__).parents[2] / "docs" / "quickstart.md"


@pytest.fixture
def blocks() -> list[str]:
    """Return the shell lines of the document, block by block."""
    return re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(lines: str, folder: Path) -> None:
    subprocess.run(["sh", "-euc", lines], cwd=folder, check=True, env={"PATH": os.environ["PATH"]})


def test_the_quickstart_writes_a_valid_configuration_and_private_secrets(blocks: list[str], tmp_path: Path) -> None:
    run(blocks[1].partition("${EDITOR")[0], tmp_path)
    settings = config.load(tmp_path / "config.yaml", {})
    assert list(settings.triggers) == ["everything"]
    assert (tmp_path / env_file.FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_the_receiver_of_the_quickstart_prints_what_it_gets(blocks: list[str], tmp_path: Path) -> None:
    create, _, start = blocks[2].rpartition("python3 ")
    run(create, tmp_path)
    path = tmp_path / start.strip()
    code = path.read_text(encoding="utf-8")
    serve = 'HTTPServer(("127.0.0.1", 9000), Receiver).serve_forever()'
    assert serve in code
    path.write_text(
        code.replace(serve, 'server = HTTPServer(("127.0.0.1", 0), Receiver)\nprint(server.server_port, flush=True)\n')
        + "server.handle_request()\n",
        encoding="utf-8",
    )
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}/"
        response = httpx.post(url, content=b'{"type": "incident.triggered"}', headers={"webhook-id": "msg_1"})
        assert response.status_code == 204
        assert receiver.stdout.readline() == 'msg_1 {"type": "incident.triggered"}\n'
