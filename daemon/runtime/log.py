"""How log lines look: structlog for people on a terminal, JSON lines otherwise. Secrets never pass.

Every value of the configuration that is secret is replaced in the finished line, whatever
put it there. Libraries' own lines come through the same way, warnings and worse only.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

import orjson
import structlog
from pydantic import SecretStr

from daemon.model import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(style: str, level: str, *, stream: TextIO | None = None, hide: Iterable[str] = ()) -> None:
    """Set logging up for this process. ``style`` is auto, console or json; ``hide`` lists the secrets."""
    out = sys.stderr if stream is None else stream
    console = style == "console" or (style == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        _tidy,
    ]
    finish: list[Processor]
    if console:
        plain = structlog.dev.plain_traceback
        finish = [structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=22, exception_formatter=plain)]
    else:
        finish = [structlog.processors.format_exc_info, _json]
    mask = _Mask(hide)
    handler = _Handler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish, mask],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("daemon").setLevel(LEVELS[level])
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=_daemon_logger,
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _daemon_logger(*_args: object) -> logging.Logger:
    return logging.getLogger("daemon")


def _tidy(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Values as people and programs like to read them; a secret as nothing at all."""
    for key, value in event.items():
        if isinstance(value, SecretStr):
            event[key] = MASK
        elif hasattr(value, "isoformat"):
            event[key] = value.isoformat(timespec="seconds").replace("+00:00", "Z")
    return event


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first: EventDict = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return orjson.dumps({**first, **event}, default=str).decode()


class _Mask:
    """The last processor: replaces secrets in the finished line, also as JSON writes them."""

    def __init__(self, hide: Iterable[str]) -> None:
        written = {each for secret in hide for each in (secret, orjson.dumps(secret).decode()[1:-1])}
        self._secrets = sorted(written, key=len, reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, line: Any) -> str:  # noqa: ANN401 - what renderers give
        text = str(line)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; a reader that went away ends the lines, not the daemon."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing about a stream that is closed; a broken line is shown as logging does it."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError | ValueError):
            super().handleError(record)
