"""What operators' machines ask: health, readiness, metrics; and the server itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from daemon import api, errors
from daemon.api.request_limits import LARGEST_BODY
from daemon.storage import schema
from tests.api.client import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

ROOT = Path(__file__).parents[2]


async def test_healthz_needs_no_token_and_no_database(database: Database, app: FastAPI) -> None:
    database.write_now(schema.metadata.drop_all)
    async with client_of(app, token=None) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_readyz_is_200_while_every_connection_is_polled(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_readyz_warns_of_a_clock_that_is_minutes_off(client: httpx.AsyncClient, database: Database) -> None:
    database.write_now(lambda tx: tx.execute(schema.instances.update().values(clock_ahead_seconds=300)) and None)
    answer = await client.get("/readyz")
    [warning] = answer.json()["warnings"]
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert "is 300 s ahead of PagerDuty's" in warning
    assert "pagerelay_clock_ahead_seconds{host=" in (await client.get("/metrics")).text


async def test_readyz_names_the_connections_that_are_not_ready(client: httpx.AsyncClient, clock: ManualClock) -> None:
    clock.advance(100)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["unready"] == [
        "connection acme: not polled for 112 s",
        "connection beta: not polled for 112 s (401 2006 Authentication failed)",
    ]


async def test_readyz_reports_an_unreachable_database(client: httpx.AsyncClient, database: Database) -> None:
    database.write_now(schema.connections.drop)
    answer = await client.get("/readyz")
    [reason] = answer.json()["unready"]
    missing = "no such table: connections" if database.is_sqlite else 'relation "connections" does not exist'
    assert (answer.status_code, reason) == (503, f"database: {missing} (for 0 s)")
    metrics = await client.get("/metrics")
    assert metrics.status_code == 200
    assert "process_cpu_seconds_total" in metrics.text


def _samples(text: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(each.name, *sorted(each.labels.values())): each.value for each in samples}


async def test_metrics_include_gauges_read_from_the_database(client: httpx.AsyncClient, clock: ManualClock) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = _samples(answer.text)
    assert samples["pagerelay_connection_last_success_timestamp_seconds", "acme"] == clock.now.timestamp() - 12
    assert samples["pagerelay_connection_budget_used", "acme"] == 4
    assert samples["pagerelay_connection_failing", "beta"] == 1
    assert samples["pagerelay_connection_quarantined_records", "beta"] == 1
    assert samples["pagerelay_connection_unknown_log_entries_total", "acme", "teleport_log_entry"] == 3
    last = samples["pagerelay_connection_unknown_log_entry_timestamp_seconds", "acme", "teleport_log_entry"]
    assert 0 <= clock.now.timestamp() - last < 86400
    assert samples["pagerelay_deliveries", "ops", "pending"] == 2
    assert samples["pagerelay_deliveries", "dead", "ops"] == 1
    assert samples["pagerelay_target_oldest_pending_seconds", "ops"] == 180
    assert samples["pagerelay_trigger_events_behind", "new"] == 2
    assert samples["pagerelay_actions_unfinished", "acme", "queued"] == 1
    assert samples["pagerelay_actions_unfinished", "beta", "running"] == 0
    assert samples["pagerelay_actions_oldest_seconds", "acme", "queued"] == 60
    assert samples["pagerelay_actions_oldest_seconds", "acme", "running"] == 120
    assert samples["pagerelay_actions_oldest_seconds", "beta", "running"] == 0
    assert samples["process_resident_memory_bytes",] > 1e6


async def test_metrics_include_the_counters_of_the_process(
    database: Database, settings: Settings, app: FastAPI
) -> None:
    counted = CollectorRegistry()
    Counter("pagerelay_attempts", "Attempts", ("target",), registry=counted).labels("ops").inc(7)
    async with client_of(api.create(database, api.Current(settings), metrics=counted), token=None) as client:
        assert _samples((await client.get("/metrics")).text)["pagerelay_attempts_total", "ops"] == 7


async def test_an_unexpected_error_is_answered_with_a_problem_without_details(own_app: FastAPI) -> None:
    @own_app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("canary-password")

    async with client_of(own_app) as client:
        answer = await client.get("/v1/broken")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["detail"] == "unexpected error (see the log)"


async def _much() -> AsyncIterator[bytes]:
    for _ in range(LARGEST_BODY // 1024 + 1):
        yield bytes(1024)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_body_is_rejected_with_and_without_content_length(own_app: FastAPI, announced: bool) -> None:  # noqa: FBT001
    @own_app.post("/taking")
    async def taking(body: dict[str, int]) -> int:
        return len(body)

    async with client_of(own_app) as client:
        content = bytes(LARGEST_BODY + 1) if announced else _much()
        answer = await client.post("/taking", content=content, headers={"content-type": "application/json"})
        fitting = await client.post("/taking", json={"a": 1})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert fitting.json() == 1


async def test_the_server_logs_where_it_listens_and_that_it_stops(database: Database, settings: Settings) -> None:
    async with api.serving(database, api.Current(settings)) as address:
        assert address is not None
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{address}/healthz")
            assert answer.status_code == 200
            assert "server" not in answer.headers
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{address}/healthz")


async def test_no_server_runs_when_the_api_is_disabled(database: Database, settings: Settings) -> None:
    async with api.serving(database, api.Current(replace(settings, api=None))) as address:
        assert address is None


async def test_an_address_in_use_is_reported_in_one_sentence(database: Database, settings: Settings) -> None:
    assert settings.api is not None
    with socket.create_server(("127.0.0.1", 0)) as other:
        occupied = replace(settings, api=replace(settings.api, port=other.getsockname()[1]))
        with pytest.raises(errors.PagerelayError, match=r"cannot listen on 127.0.0.1:.*in use"):
            async with api.serving(database, api.Current(occupied)):
                pass


async def test_the_server_does_not_block_the_event_loop(database: Database, settings: Settings) -> None:
    async with api.serving(database, api.Current(settings)) as address, httpx.AsyncClient(trust_env=False) as client:
        answers = await asyncio.gather(*(client.get(f"{address}/healthz") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


async def refused_after(address: str, content: bytes) -> tuple[bytes, int]:
    """Send bytes without end to the API; return the first line of its answer, and how much it took."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 64 * 1024 * 1024 and not reader.at_eof():
            writer.write(content)
            sent += len(content)
            async with asyncio.timeout(20):
                await writer.drain()
            await asyncio.sleep(0)
            if reader._buffer:  # type: ignore[attr-defined]  # an answer before the end
                break
    line = await reader.readline()
    writer.close()
    return line, sent


@pytest.mark.parametrize("head", [b"GET /healthz HTTP/1.1\r\nX-Endless: ", b"GET /"], ids=["header", "path"])
async def test_a_head_without_end_is_refused_before_it_fills_the_memory(
    database: Database, settings: Settings, head: bytes
) -> None:
    async with api.serving(database, api.Current(settings)) as address:
        assert address is not None
        line, sent = await refused_after(address, head + b"x" * 20_000)
    assert line.startswith(b"HTTP/1.1 400 ")
    assert sent < 4 * 1024 * 1024


async def test_pipelined_requests_are_answered_one_after_the_other(database: Database, settings: Settings) -> None:
    async with api.serving(database, api.Current(settings)) as address:
        assert address is not None
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        for _ in range(100):
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
        writer.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_two_colons_listen_on_both_families_and_show_ipv4_addresses_as_such(
    database: Database, settings: Settings, address: str
) -> None:
    assert settings.api is not None
    on_both = replace(settings, api=replace(settings.api, host="::", hosts=()))
    async with api.serving(database, api.Current(on_both)) as url:
        assert url is not None
        host = f"[{address}]" if ":" in address else address
        port = url.rpartition(":")[2]
        with structlog.testing.capture_logs() as lines:
            async with httpx.AsyncClient(trust_env=False, base_url=f"http://{host}:{port}") as client:
                assert (await client.get("/healthz")).status_code == 200
                await client.get("/v1/status", headers={"authorization": "Bearer wrong"})
    assert [line["address"] for line in lines if line["event"] == "request.wrong_token"] == [address]


async def test_a_machine_without_ipv6_listens_on_every_ipv4_address(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert settings.api is not None
    async with api.serving(database, api.Current(replace(settings, api=replace(settings.api, host="::")))) as url:
        assert url is not None
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{url.rpartition(':')[2]}/healthz")).status_code == 200


async def test_the_images_health_check_sees_whether_the_daemon_is_alive(database: Database, settings: Settings) -> None:
    (command,) = re.findall(r"^ +CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)

    async def check(port: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *json.loads(command.replace("8421", port)), stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait()

    async with api.serving(database, api.Current(settings)) as address:
        assert address is not None
        port = address.rpartition(":")[2]
        assert await check(port) == 0
        with pytest.raises(errors.DatabaseError):
            database.write_now(lambda tx: tx.execute(sa.text("SELECT * FROM missing")) and None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "is_stuck", lambda _at: True)
            assert await check(port) != 0
    assert await check(port) != 0
