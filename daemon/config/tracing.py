"""The settings of traces: one switch in the file, everything else in OpenTelemetry's own environment variables."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic import SecretStr

from daemon.settings import Traces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from daemon.config.document import Tree
    from daemon.config.file_model import File

PREFIX = "OTEL_"
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def settings(file: File, tree: Tree, environ: Mapping[str, str]) -> Traces | None:
    """Return the settings of traces, or None if none are exported."""
    if not file.traces.export:
        for name, target in file.targets.items():
            if target.traceparent:
                tree.mistake(("targets", name, "traceparent"), "requires traces (set traces.export to true)")
        return None
    if not _is_installed():
        tree.mistake(
            ("traces", "export"), "requires OpenTelemetry, which is not installed (run: pip install 'pagerelay[otel]')"
        )
    variables = {name: SecretStr(value) for name, value in environ.items() if name.startswith(PREFIX)}
    return Traces(tuple(sorted(variables.items())))


def secrets(traces: Traces) -> Iterator[str]:
    """Yield every value that must never be public: the headers for the collector, which hold its tokens."""
    for name, value in traces.variables:
        if name.endswith("_HEADERS"):
            yield value.get_secret_value()
            for header in value.get_secret_value().split(","):
                text = header.partition("=")[2].strip()
                yield from (text, unquote(text))


def _is_installed() -> bool:
    try:
        return all(find_spec(name) is not None for name in NEEDED)
    except ModuleNotFoundError:  # not even the package around it
        return False
