"""The parts put together: what is asked of a running daemon's API takes effect at PagerDuty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import structlog
from prometheus_client.parser import text_string_to_metric_families

from daemon.settings import fingerprint
from daemon.simulator import Account, Simulator
from daemon.storage import schema
from daemon.storage.database import Database, system_clock
from tests.api import running_daemon
from tests.api.action_api import written
from tests.harness import sample_data

if TYPE_CHECKING:
    from pathlib import Path


async def test_requests_to_a_running_daemon_take_effect_and_are_counted(tmp_path: Path, database_url: str) -> None:
    account = Account(seed=4)
    incident = account.trigger("Disk almost full")
    alice = account.directory.user("alice").id
    async with Simulator([account], limit=10**9).serving() as url:
        settings = written(tmp_path, database_url, url, account.api_key)
        headers = {"authorization": f"Bearer {sample_data.TOKEN}"}
        async with (
            running_daemon.running(settings) as address,
            httpx.AsyncClient(base_url=address, headers=headers, trust_env=False, timeout=90) as client,
        ):
            request = {"parameters": {"incidentId": incident.id, "userId": alice}, "notify": []}
            answer = await client.post("/v1/actions/ResolveIncident", json=request, params={"wait": 60})
            (pick,) = (await client.get("/v1/connections/acme/users?query=alice")).json()["users"]
            status = (await client.get("/v1/status")).json()
            (connection,), (instance,) = status["connections"], status["instances"]
            metrics = (await client.get("/metrics")).text
    assert (answer.status_code, answer.json()["outcome"], pick["id"]) == (200, "done", alice)
    assert [each.what for each in account.effects] == ["resolve"]
    assert connection["actions"] == {
        "queued": 0,
        "oldest_queued_at": None,
        "running": 0,
        "oldest_running_at": None,
        "failed": 0,
        "failed_within": 3600.0,
    }
    assert instance["config_hash"] == answer.headers["pagerelay-config-hash"] == fingerprint(settings)
    users = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert users[("pagerelay_config_hash",)] == int(fingerprint(settings)[:12], 16)
    acme = ("connection", "acme")
    ended = users["pagerelay_actions_total", acme, ("operation", "ResolveIncident"), ("state", "succeeded")]
    assert ended == 1
    assert users["pagerelay_permits_total", acme, ("priority", "action")] == 3  # user, resolution, list
    assert users["pagerelay_permit_wait_seconds_total", acme, ("priority", "action")] > 0
    assert users["pagerelay_actions_unfinished", acme, ("state", "queued")] == 0


async def test_orphaned_work_is_logged_at_the_start(tmp_path: Path, database_url: str) -> None:
    now = system_clock()
    database = Database(database_url)
    database.write_now(sample_data.insert, schema.events, sample_data.event(1, now))
    database.write_now(sample_data.insert, schema.messages, sample_data.message(1, now))
    database.write_now(sample_data.insert, schema.targets, {"name": "left"})
    database.write_now(sample_data.insert, schema.deliveries, sample_data.delivery(1, now, target="left"))
    database.write_now(sample_data.insert, schema.actions, sample_data.action(1, now, connection="gone"))
    database.close()
    account = Account(seed=4)
    async with Simulator([account], limit=10**9).serving() as url:
        with structlog.testing.capture_logs() as logs:
            async with running_daemon.running(written(tmp_path, database_url, url, account.api_key)):
                pass
    unknown = {each["event"]: each for each in logs if each["event"].endswith(".unknown")}
    assert (unknown["target.unknown"]["target"], unknown["target.unknown"]["pending"]) == ("left", 1)
    assert (unknown["connection.unknown"]["connection"], unknown["connection.unknown"]["queued"]) == ("gone", 1)
    assert len(unknown) == 2
