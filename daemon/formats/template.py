"""The format template: a Jinja template of the user that renders to JSON.

Each template is rendered in a process of its own (``rendering``), so that a slow or crashing template affects neither
the daemon nor other targets.
"""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from daemon import errors
from daemon.formats import standard
from daemon.formats.format import Format
from daemon.model import Batch, Content

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.model import Json, Message
    from daemon.settings import Options

LARGEST_TEMPLATE = 64 * 1024
LARGEST_BODY = 256 * 1024
SECONDS = 0.5  # of processor time per message
MEMORY = 256 * 1024 * 1024
PROGRAM = Path(__file__).with_name("rendering.py")
PATIENCE = 15.0  # seconds until a process that does not respond is killed; long enough for a busy machine


class Renderer:
    """A process that renders templates. It is started on demand, and restarted after it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, template: str, document: Json, *, strict: bool = False) -> bytes:
        """Return the JSON that the template renders to. Raises FormatError. ``strict``: missing values are errors."""
        request = orjson.dumps({"template": template, "document": document, "strict": strict})
        with self._lock:
            response = self._ask(request)
        if "body" in response:
            return bytes(response["body"].encode())
        line = f"line {response['line']}: " if response.get("line") else ""
        raise errors.FormatError(f"{line}{response['error']}")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, request: bytes) -> Json:
        process = self._running()
        watch = threading.Timer(PATIENCE, process.kill)
        watch.start()
        try:
            response = _exchange(process, request)
        except OSError:
            response = None
        finally:
            watch.cancel()
        return response or {"error": self._end()}

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            command = [sys.executable, "-I", str(PROGRAM), str(SECONDS), str(MEMORY), str(LARGEST_BODY)]
            self._process = subprocess.Popen(  # noqa: S603 - our own program, with an empty environment
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )
        return self._process

    def _end(self) -> str:
        """End the process, and return why it did not respond."""
        process, self._process = self._process, None
        if process is None:
            return ""
        process.kill()
        process.communicate()
        match -process.returncode:
            case signal.SIGPROF:
                return f"takes more than {SECONDS:g} s to compute"
            case signal.SIGKILL:
                return f"did not finish within {PATIENCE:g} s"
            case _:
                return "crashed its process"


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> Json | None:
    """Send a request and return the response, or None if the process ended."""
    requests, responses = process.stdin, process.stdout
    if requests is None or responses is None:
        raise OSError("the process has no pipes")
    requests.write(request + b"\n")
    requests.flush()
    line = responses.readline()
    response: Json | None = orjson.loads(line) if line.endswith(b"\n") else None
    return response


_renderers: dict[str, Renderer] = {}


def content(message: Message, options: Options) -> Content | None:
    """Return the template rendered with the document of the standard format, or None for a batch. May block."""
    if isinstance(message.about, Batch) or options.template is None:
        return None
    renderer = _renderers.setdefault(options.template, Renderer())
    return Content(renderer.render(options.template, standard.document(message)), "application/json")


def problem(renderer: Renderer, template: str, full: Iterable[Message], bare: Iterable[Message]) -> str | None:
    """Return what is wrong with a template if it fails with one of the messages, else None.

    ``full`` messages have every field, so a value missing there is misspelled. In other messages it is empty text.
    """
    if len(template.encode()) > LARGEST_TEMPLATE:
        return f"must be at most {LARGEST_TEMPLATE // 1024} KiB"
    for messages, strict in ((full, True), (bare, False)):
        for message in messages:
            try:
                renderer.render(template, standard.document(message), strict=strict)
            except errors.FormatError as error:
                least = "" if strict else " with as few fields as possible"
                return f"fails with {message.type}{least}: {error}"
    return None


def _close() -> None:
    for renderer in _renderers.values():
        renderer.close()


atexit.register(_close)

FORMAT = Format(
    content=content,
    help="JSON rendered by your own template",
    slow=True,
    options=frozenset({"template"}),
)
