"""The format template: a Jinja template of the user's own, which gives JSON.

A template is rendered in a process of its own (``rendering``), one for each text, so that whatever it
does, neither the daemon nor another target waits for it or dies of it.
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
SECONDS = 0.5  # of processor time, for one rendering
MEMORY = 256 * 1024 * 1024
PROGRAM = Path(__file__).with_name("rendering.py")
PATIENCE = 15.0  # seconds in which a process must answer, on however busy a machine


class Renderer:
    """A process that renders templates; started when it is needed, and again after it had to be killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, template: str, document: Json, *, strict: bool = False) -> bytes:
        """The JSON that the template gives; FormatError if it gives none. ``strict``: what is missing is an error."""
        request = orjson.dumps({"template": template, "document": document, "strict": strict})
        with self._lock:
            answer = self._ask(request)
        if "body" in answer:
            return bytes(answer["body"].encode())
        line = f"line {answer['line']}: " if answer.get("line") else ""
        raise errors.FormatError(f"{line}{answer['error']}")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, request: bytes) -> Json:
        process = self._running()
        watch = threading.Timer(PATIENCE, process.kill)
        watch.start()
        try:
            answer = _exchange(process, request)
        except OSError:
            answer = None
        finally:
            watch.cancel()
        return answer or {"error": self._end()}

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            command = [sys.executable, "-I", str(PROGRAM), str(SECONDS), str(MEMORY), str(LARGEST_BODY)]
            self._process = subprocess.Popen(  # noqa: S603 - our own program, with nothing of the daemon's environment
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )
        return self._process

    def _end(self) -> str:
        """Take leave of the process, and say why it answered nothing."""
        process, self._process = self._process, None
        if process is None:
            return ""
        process.kill()
        process.communicate()
        match -process.returncode:
            case signal.SIGPROF:
                return f"takes more than {SECONDS:g} s to compute"
            case signal.SIGKILL:
                return f"gave nothing within {PATIENCE:g} s"
            case _:
                return "made its process crash"


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> Json | None:
    """One question and its answer; None if the process ended."""
    given, out = process.stdin, process.stdout
    if given is None or out is None:
        raise OSError("the process has no pipes")
    given.write(request + b"\n")
    given.flush()
    line = out.readline()
    answer: Json | None = orjson.loads(line) if line.endswith(b"\n") else None
    return answer


_renderers: dict[str, Renderer] = {}


def content(message: Message, options: Options) -> Content | None:
    """What the template makes of the document that the format standard sends. May take its time."""
    if isinstance(message.about, Batch) or options.template is None:
        return None
    renderer = _renderers.setdefault(options.template, Renderer())
    return Content(renderer.render(options.template, standard.document(message)), "application/json")


def problem(renderer: Renderer, template: str, full: Iterable[Message], bare: Iterable[Message]) -> str | None:
    """What is wrong with a template, if it fails with one of the messages.

    In ``full`` ones everything is there: what is missing then is misspelt. In real ones it is empty text.
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
    help="JSON that a template of yours makes",
    slow=True,
    options=frozenset({"template"}),
)
