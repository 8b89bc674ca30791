"""Traces of polls, events, deliveries and attempts, exported with OpenTelemetry (the extra ``otel``).

The ids of a trace and of its spans are hashes of the ids of the event, the message and the target. So a trace stays
whole across restarts and replicas although nothing about it is stored. OpenTelemetry is imported only where traces are
exported.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import daemon
from daemon.model import Action, Alert, Batch, Event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

    from daemon.model import Content, Delivery, Message

EXPORT_SECONDS = 2.0  # for the last spans, when the daemon stops
TRACE_BYTES, SPAN_BYTES = 16, 8


class Tracing:
    """Writes spans. Every method runs in the event loop's thread, and none of them waits."""

    def __init__(self, provider: TracerProvider, planned_ids: PlannedIds) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("pagerelay", daemon.__version__)
        self._ids = planned_ids

    def begin_poll(self, connection: str) -> Span:
        """Return the span of a poll that begins now; the caller ends it."""
        return self._tracer.start_span(f"poll {connection}", attributes={"pagerelay.connection": connection})

    def end_poll(self, span: Span, error: str | None, **counts: int) -> None:
        """End the span of a poll."""
        span.set_attributes({f"pagerelay.{name}": number for name, number in counts.items()})
        _end(span, error)

    def record_events(self, events: Collection[Event], poll: Span | None = None) -> None:
        """Write the first span of each event's trace, from when it happened until it was detected."""
        from opentelemetry.context import Context  # noqa: PLC0415 - see the module's docstring
        from opentelemetry.trace import Link  # noqa: PLC0415 - as above

        links = [] if poll is None else [Link(poll.get_span_context())]
        for event in events:
            began = _nanoseconds(event.occurred_at)
            with self._ids.planned(_number(TRACE_BYTES, event.id), _number(SPAN_BYTES, "event", event.id)):
                span = self._tracer.start_span(
                    event.type, Context(), attributes=_of_event(event), links=links, start_time=began
                )
            span.end(max(_nanoseconds(event.detected_at), began))

    def begin_attempt(self, delivery: Delivery, subject: str) -> AttemptSpan:
        """Return the span of an attempt that begins now; ``subject`` is what the message is about."""
        context = self._remote(subject, _delivery_span(delivery))
        attributes: Mapping[str, Any] = {
            "pagerelay.target": delivery.target,
            "pagerelay.message.id": delivery.message_id,
            "pagerelay.attempt": delivery.attempts + 1,
        }
        return AttemptSpan(self._tracer.start_span(f"attempt {delivery.target}", context, attributes=attributes))

    def record_delivery(self, delivery: Delivery, subject: str, state: str, ended_at: datetime) -> None:
        """Write the span of a delivery that has ended, around its attempts."""
        attributes: Mapping[str, Any] = {
            "pagerelay.target": delivery.target,
            "pagerelay.delivery.id": delivery.id,
            "pagerelay.delivery.state": state,
            "pagerelay.incident.id": delivery.incident_id,
            "pagerelay.message.id": delivery.message_id,
            "pagerelay.attempts": delivery.attempts + 1,
        }
        from opentelemetry.context import Context  # noqa: PLC0415 - see the module's docstring

        began = _nanoseconds(delivery.begun_at)
        is_of_event = subject.startswith("evt_")  # nothing else has a span of its own
        context = self._remote(subject, _number(SPAN_BYTES, "event", subject)) if is_of_event else Context()
        with self._ids.planned(_number(TRACE_BYTES, subject), _delivery_span(delivery)):
            span = self._tracer.start_span(
                f"delivery {delivery.target}", context, attributes=attributes, start_time=began
            )
        span.end(max(_nanoseconds(ended_at), began))

    def close(self) -> None:
        """Export the last spans, unless that takes too long."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(EXPORT_SECONDS)

    def _remote(self, subject: str, parent: int) -> Context:
        """Return the context of a span whose parent another process may have written."""
        from opentelemetry import trace  # noqa: PLC0415 - see the module's docstring
        from opentelemetry.context import Context  # noqa: PLC0415 - as above

        trace_id = _number(TRACE_BYTES, subject)
        is_sampled = self._provider.sampler.should_sample(None, trace_id, "").decision.is_sampled()  # type: ignore[no-untyped-call]
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if is_sampled else trace.TraceFlags.DEFAULT)
        of_parent = trace.SpanContext(trace_id, parent, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(of_parent), Context())


class AttemptSpan:
    """The span of one attempt."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def with_header(self, content: Content) -> Content:
        """Return the content with a header by which the receiver can continue the trace."""
        context = self._span.get_span_context()
        if not context.is_valid:  # OTEL_SDK_DISABLED
            return content
        value = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        return replace(content, headers=(*content.headers, ("traceparent", value)))

    def end(self, status: int | None, error: str | None) -> None:
        """End the span with the response's status or an error."""
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        _end(self._span, error)


class PlannedIds:
    """The source of ids for OpenTelemetry: random ones, except those that are planned."""

    def __init__(self) -> None:
        self._trace_id: int | None = None
        self._span_id: int | None = None

    @contextlib.contextmanager
    def planned(self, trace_id: int, span_id: int) -> Iterator[None]:
        """Give the span that starts in this context these ids."""
        self._trace_id, self._span_id = trace_id, span_id
        try:
            yield
        finally:
            self._trace_id = self._span_id = None

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        return self._span_id or _random(SPAN_BYTES)

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        return self._trace_id or _random(TRACE_BYTES)

    def is_trace_id_random(self) -> bool:
        """Return False: receivers must not expect randomness in the ids."""
        return False


def start(variables: Mapping[str, str], exporter: SpanExporter | None = None) -> Tracing:
    """Start to export spans, by default with OTLP over HTTP to where OpenTelemetry's ``variables`` say."""
    os.environ.update(variables)  # the SDK reads them there, and they may come from pagerelay.env
    if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        os.environ.setdefault("OTEL_SERVICE_NAME", "pagerelay")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: PLC0415 - as above

    planned = PlannedIds()
    IdGenerator.register(PlannedIds)
    resource = Resource.create({"service.version": daemon.__version__})
    provider = TracerProvider(resource=resource, id_generator=planned, shutdown_on_exit=False)  # type: ignore[arg-type]  # registered
    processor = BatchSpanProcessor(OTLPSpanExporter()) if exporter is None else SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    return Tracing(provider, planned)


def subject_of(message: Message) -> str:
    """Return the id of what a message is about, from which the ids of its trace are derived."""
    match message.about:
        case Event() | Action():
            return message.about.id
        case Batch():
            return message.about.events[0].id
        case Alert():
            return message.id


def _end(span: Span, error: str | None) -> None:
    if error is not None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - see the module's docstring

        span.set_status(StatusCode.ERROR, error)
    span.end()


def _of_event(event: Event) -> dict[str, str]:
    return {
        "pagerelay.connection": event.connection,
        "pagerelay.event.id": event.id,
        "pagerelay.event.detected_by": event.detected_by.value,
        "pagerelay.incident.id": event.incident_id,
    }


def _delivery_span(delivery: Delivery) -> int:
    """Return the id of a delivery's span; a delivery that is sent again gets another one."""
    return _number(SPAN_BYTES, delivery.message_id, delivery.target, delivery.begun_at.isoformat())


def _number(size: int, *parts: str) -> int:
    """Return a hash as a number of this many bytes; never 0, which is no valid id."""
    return int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest()[:size]) or 1


def _random(size: int) -> int:
    return int.from_bytes(os.urandom(size)) or 1


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
