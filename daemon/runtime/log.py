"""The set-up of logging: structlog's console format on a terminal, JSON lines otherwise.

Every secret of the configuration is masked in the finished line, wherever it comes from. Lines of libraries take the
same way, from the level warning on.
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
    """Configure logging for this process. ``style`` is auto, console or json; ``hide`` lists the secrets."""
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
    """Format times to the second, and mask secrets."""
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
    """The last processor, which masks secrets in the finished line, also in their JSON form."""

    def __init__(self, hide: Iterable[str]) -> None:
        forms = {each for secret in hide for each in (secret, orjson.dumps(secret).decode()[1:-1])}
        self._secrets = sorted(forms, key=len, reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, line: Any) -> str:  # noqa: ANN401 - whatever renderers return
        text = str(line)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


class _Handler(logging.StreamHandler[TextIO]):
    """A stream handler that ignores a closed stream, so that the daemon survives its reader."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore a closed stream, and report other errors as logging does."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError | ValueError):
            super().handleError(record)
