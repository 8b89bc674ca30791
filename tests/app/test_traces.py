"""Traces: one per event, from its detection to the last attempt, whole across restarts, exported over OTLP."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from daemon import config, errors
from daemon.config import tracing as traces_settings
from daemon.model import Alert, Message
from daemon.runtime import tracing
from daemon.settings import Options, fingerprint
from daemon.simulator import Account, Simulator
from daemon.storage import schema
from daemon.storage.database import Database
from tests.api.running_daemon import running
from tests.conftest import START
from tests.delivery.loop_setup import delivering, event, fill, states, target
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, SECRET, Receiver, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

FILE = """
database: {{url: "sqlite:///{folder}/pagerelay.db"}}
api: {{listen: "127.0.0.1:0"}}
connections: {{acme: {{api_key: {key}, api_url: "{account}", limits: {{calls: 100000, poll_interval: 150ms}}}}}}
targets: {{ops: {{url: "{ops}", secret: {secret}, traceparent: true}}}}
traces: {{export: true}}
triggers: {{new: {{on: incident.triggered, every: 150ms, to: [ops]}}}}
"""
TOKEN = "canary-collector-token"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what starting an export puts into the environment."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_TRACES_SAMPLER"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "pagerelay")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Return an exporter that keeps spans."""
    return InMemorySpanExporter()


@pytest.fixture
def traced(exporter: InMemorySpanExporter) -> Iterator[tracing.Tracing]:
    """Return an export to memory."""
    started = tracing.start({}, exporter)
    yield started
    started.close()


def by_name(spans: Any) -> dict[str, list[Any]]:
    """Return spans by name."""
    named: defaultdict[str, list[Any]] = defaultdict(list)
    for span in spans:
        named[span.name].append(span)
    return named


def traceparent(span: ReadableSpan) -> str:
    """Return the header that continues a span."""
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


async def polled_once(folder: Path) -> None:
    """Wait until the daemon has stored the account's baseline."""
    database = Database(f"sqlite:///{folder}/pagerelay.db")
    query = sa.select(schema.connections.c.last_success_at)
    await eventually(lambda: database.read_now(lambda tx: tx.execute(query).scalar()) is not None)
    database.close()


async def test_an_event_is_traced_from_the_poll_to_the_receiver(tmp_path: Path) -> None:
    account, collector, receiver = Account(seed=4), Receiver(), Receiver()
    async with Simulator([account]).serving() as url, collector.serving() as otlp, receiver.serving() as ops:
        file = tmp_path / "config.yaml"
        file.write_text(FILE.format(folder=tmp_path, key=account.api_key, account=url, ops=ops, secret=SECRET))
        (tmp_path / "pagerelay.env").write_text(
            f"OTEL_EXPORTER_OTLP_ENDPOINT={otlp.removesuffix('/hook')}\n"
            f"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20{TOKEN}\n"
        )
        (tmp_path / "pagerelay.env").chmod(0o600)
        settings = config.load(file, {})
        assert {f"Bearer%20{TOKEN}", f"Bearer {TOKEN}"} <= set(config.secrets(settings))
        async with running(settings):
            await polled_once(tmp_path)
            account.trigger("Disk almost full")
            await eventually(lambda: receiver.got)
    requests = [ExportTraceServiceRequest.FromString(each.body) for each in collector.got]
    scopes = [scope for each in requests for resource in each.resource_spans for scope in resource.scope_spans]
    spans = by_name(span for scope in scopes for span in scope.spans)
    (attempt, *_), (delivery, *_) = spans["attempt ops"], spans["delivery ops"]
    happening = next(each for each in spans["incident.triggered"] if each.trace_id == attempt.trace_id)
    assert {each.headers["authorization"] for each in collector.got} == {f"Bearer {TOKEN}"}
    assert {each.path for each in collector.got} == {"/v1/traces"}
    assert receiver.got[0].headers["traceparent"] == f"00-{attempt.trace_id.hex()}-{attempt.span_id.hex()}-01"
    assert (attempt.parent_span_id, attempt.trace_id) == (delivery.span_id, delivery.trace_id)
    assert (delivery.parent_span_id, happening.parent_span_id) == (happening.span_id, b"")
    assert happening.links[0].span_id in {each.span_id for each in spans["poll acme"]}


async def test_a_trace_stays_whole_when_another_daemon_makes_the_next_attempt(
    live: Database, traced: tracing.Tracing, exporter: InMemorySpanExporter
) -> None:
    receiver = Receiver(lambda _request: Reply(500))
    fill(live, ["P1"], ["ops"])
    traced.record_events([event(0, "P1")])
    async with receiver.serving() as url:
        ops = target("ops", url, traceparent=True)
        async with delivering(live, ops, tracing=traced):
            await eventually(lambda: receiver.got)
        receiver.behave = lambda _request: OK
        second = tracing.start({}, exporter)
        async with delivering(live, ops, instance="two", tracing=second):
            await eventually(lambda: states(live)["delivered"])
        second.close()
    spans = by_name(exporter.get_finished_spans())
    (happening,), (delivery,), attempts = spans["incident.annotated"], spans["delivery ops"], spans["attempt ops"]
    assert len({each.context.trace_id for each in exporter.get_finished_spans()}) == 1
    assert delivery.parent.span_id == happening.context.span_id
    assert {each.parent.span_id for each in attempts} == {delivery.context.span_id}
    assert [traceparent(each) for each in attempts] == [each.headers["traceparent"] for each in receiver.got]
    assert attempts[0].status.description == "answered 500"
    assert attempts[0].attributes["http.response.status_code"] == 500
    assert delivery.attributes["pagerelay.delivery.state"] == "delivered"
    assert delivery.attributes["pagerelay.attempts"] == len(attempts)


async def test_a_template_is_traced_too_and_the_header_is_only_for_targets_that_ask(
    live: Database, traced: tracing.Tracing, exporter: InMemorySpanExporter
) -> None:
    receiver = Receiver()
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url:
        ops = target("ops", url, format="template", options=Options(template='{"a": 1}'))
        async with delivering(live, ops, tracing=traced):
            await eventually(lambda: states(live)["delivered"])
    names = {each.name for each in exporter.get_finished_spans()}
    assert names == {"attempt ops", "delivery ops"}
    assert "traceparent" not in receiver.got[0].headers


async def test_a_sampler_keeps_or_drops_a_trace_as_a_whole(
    live: Database, monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    started = tracing.start({}, exporter)
    receiver = Receiver()
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, traceparent=True), tracing=started):
        await eventually(lambda: states(live)["delivered"])
    started.close()
    assert exporter.get_finished_spans() == ()
    assert receiver.got[0].headers["traceparent"].endswith("-00")


def test_what_has_no_event_has_a_trace_of_its_own() -> None:
    alert = Message("msg_1", "", "target.failing", Alert("target.failing", START, {}))
    assert tracing.subject_of(alert) == "msg_1"


def test_without_the_extra_the_configuration_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces_settings, "NEEDED", ("no_such_package.sdk",))
    file = tmp_path / "config.yaml"
    file.write_text("connections: {acme: {api_key: a-key}}\ntraces: {export: true}\n")
    with pytest.raises(errors.ConfigurationError) as raised:
        config.load(file, {})
    assert str(raised.value) == (
        f"{file}:2: traces.export: requires OpenTelemetry, which is not installed (run: pip install 'pagerelay[otel]')"
    )


def test_a_daemon_without_traces_does_not_import_opentelemetry() -> None:
    code = "import sys, daemon.app; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_replicas_that_name_themselves_in_traces_have_the_same_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("connections: {acme: {api_key: a-key}}\ntraces: {export: true}\n")
    one, two = (config.load(file, {"OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={name}"}) for name in "ab")
    assert one.traces != two.traces
    assert fingerprint(one) == fingerprint(two)
