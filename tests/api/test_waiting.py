"""Waiting for an action's end: it ends early, or late, and never holds anything up."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx

from daemon import api
from daemon.control import Waiting, waiting
from daemon.storage import schema
from tests.api.action_api import PATIENCE, opened
from tests.harness import sample_data
from tests.harness.eventually import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.storage.database import Database
    from tests.api.action_api import ActionApi
    from tests.conftest import ManualClock


async def test_a_wait_ends_as_soon_as_the_action_has_ended(action_api: ActionApi) -> None:
    incident = action_api.incident()
    started = time.monotonic()
    async with action_api.executing():
        answer = await action_api.ask("AcknowledgeIncident", incidentId=incident.id, userId=action_api.alice, wait=60)
    assert time.monotonic() - started < PATIENCE
    item = answer.json()
    assert (answer.status_code, item["state"], item["outcome"]) == (200, "succeeded", "done")
    assert (item["result"]["id"], item["result"]["status"]) == (incident.id, "acknowledged")
    assert [each.what for each in action_api.account.effects] == ["acknowledge"]


async def test_a_failed_action_is_also_200_and_says_why(action_api: ActionApi) -> None:
    async with action_api.executing():
        answer = await action_api.ask("GetUser", userId="PNOBODY", wait=60)
    assert (answer.status_code, answer.json()["state"]) == (200, "failed")
    assert answer.json()["error"]["code"] == "not_found"


async def test_a_wait_that_times_out_is_202_with_the_current_action(action_api: ActionApi) -> None:
    started = time.monotonic()
    answer = await action_api.ask(wait=0.3)
    assert 0.3 <= time.monotonic() - started < PATIENCE
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


async def test_without_a_wait_the_response_is_immediate(action_api: ActionApi) -> None:
    assert (await action_api.ask()).status_code == 202
    assert action_api.work.waiting._waiting == {}


async def test_the_result_of_another_daemon_is_found_by_polling_the_database(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    async with opened(database, clock, tmp_path, waiting=Waiting(look_seconds=0.02)) as action_api:
        asking = asyncio.create_task(action_api.ask(wait=60))
        await eventually(lambda: action_api.work.waiting._waiting)
        ended = schema.actions.update().values(state="succeeded", finished_at=clock.now)
        database.write_now(lambda tx: tx.execute(ended) and None)
        assert (await asyncio.wait_for(asking, PATIENCE)).status_code == 200


def counted_reads(action_api: ActionApi) -> list[None]:
    """Grows by one with every read of the database."""
    reads: list[None] = []
    read = action_api.database.read

    async def counting(*arguments: object) -> object:
        result: object = await read(*arguments)  # type: ignore[arg-type]
        reads.append(None)
        return result

    action_api.database.read = counting  # type: ignore[method-assign, assignment]
    return reads


async def test_a_wait_queries_the_database_rarely(action_api: ActionApi) -> None:
    reads = counted_reads(action_api)
    await action_api.ask(wait=0.5)
    assert len(reads) in {2, 3}


async def test_many_clients_can_wait_for_one_action_and_it_is_carried_out_once(action_api: ActionApi) -> None:
    incident = action_api.incident()
    parameters = {"incidentId": incident.id, "userId": action_api.alice, "note": "on it"}
    asking = [
        asyncio.create_task(action_api.ask("AddNoteToIncident", key="k", **parameters, wait=60)) for _ in range(10)
    ]
    await eventually(lambda: sum(map(len, action_api.work.waiting._waiting.values())) == 10)
    async with action_api.executing():
        answers = await asyncio.wait_for(asyncio.gather(*asking), PATIENCE)
    assert {each.status_code for each in answers} == {200}
    assert [each.what for each in action_api.account.effects] == ["annotate"]
    assert action_api.work.waiting._waiting == {}


async def test_above_the_limit_of_waits_the_response_is_202_at_once(action_api: ActionApi) -> None:
    for number in range(waiting.MOST_WAITING):
        action_api.work.waiting._waiting[f"act_{number}"] = {asyncio.Event()}
    started = time.monotonic()
    assert (await action_api.ask(wait=60)).status_code == 202
    assert time.monotonic() - started < PATIENCE


async def test_a_wait_ends_when_the_client_disconnects(action_api: ActionApi) -> None:
    async with api.serving(action_api.database, api.Current(action_api.settings, action_api.work)) as address:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            asking = asyncio.create_task(_ask(client, address, wait=60))
            await eventually(lambda: action_api.work.waiting._waiting)
            asking.cancel()
            await asyncio.wait([asking])
        await eventually(lambda: not action_api.work.waiting._waiting)
    assert [each["state"] for each in await action_api.queued()] == ["queued"]


async def test_a_wait_ends_with_a_response_when_the_daemon_stops(action_api: ActionApi) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        async with api.serving(action_api.database, api.Current(action_api.settings, action_api.work)) as address:
            asking = [asyncio.create_task(_ask(client, address, wait=60)) for _ in range(3)]
            await eventually(lambda: sum(map(len, action_api.work.waiting._waiting.values())) == 3)
        answers = await asyncio.gather(*asking)
    assert [(each.status_code, each.json()["state"]) for each in answers] == [(202, "queued")] * 3


async def _ask(client: httpx.AsyncClient, address: str | None, wait: float) -> httpx.Response:
    return await client.post(
        f"{address}/v1/actions/GetUser",
        params={"wait": wait},
        json={"parameters": {"userId": "P1"}},
        headers={"authorization": f"Bearer {sample_data.TOKEN}"},
    )


async def test_a_wait_continues_while_the_action_is_postponed(action_api: ActionApi) -> None:
    asking = asyncio.create_task(action_api.ask(wait=60))
    reads = counted_reads(action_api)
    await eventually(lambda: reads)
    ((action_id, _),) = action_api.work.waiting._waiting.items()
    action_api.work.waiting.notify([action_id])
    await eventually(lambda: len(reads) > 1)
    assert not asking.done()
    ended = schema.actions.update().values(state="failed", finished_at=action_api.database._clock())  # type: ignore[misc]
    action_api.database.write_now(lambda tx: tx.execute(ended) and None)
    action_api.work.waiting.notify([action_id])
    assert (await asyncio.wait_for(asking, PATIENCE)).json()["state"] == "failed"
