"""The client's retries, its pauses, and its behaviour when PagerDuty limits the rate."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa

from daemon import errors
from daemon.model import CallPriority
from daemon.pagerduty import client as pagerduty_client
from daemon.pagerduty import permits as client_permits
from daemon.settings import Limits
from daemon.storage import permits, schema
from tests.conftest import START
from tests.harness.eventually import eventually
from tests.pagerduty.scripted_pagerduty import listing, refusal

if TYPE_CHECKING:
    from datetime import datetime

    from tests.pagerduty.scripted_pagerduty import ScriptedPagerDuty

POLL = CallPriority.POLL
GOOD = listing("incidents")
BROKEN = [
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("slow"),
    httpx.WriteError("reset"),
    httpx.PoolTimeout("full"),
    httpx.RemoteProtocolError("cut"),
    httpx.LocalProtocolError("header"),
    httpx.DecodingError("no gzip"),
    httpx.ProxyError("no"),
    httpx.UnsupportedProtocol("ftp"),
]


def blocked_until(fake: ScriptedPagerDuty) -> datetime | None:
    """Until when the connection makes no calls."""
    until: datetime | None = fake.database.read_now(
        lambda tx: tx.execute(sa.select(schema.connections.c.blocked_until)).scalar_one()
    )
    return until


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
async def test_a_broken_call_is_retried_and_its_error_names_the_kind(
    fake: ScriptedPagerDuty, error: httpx.HTTPError
) -> None:
    not_connected = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
    failures = 1 if not_connected else 2  # whoever cannot be connected to is tried twice, to know why within a poll
    await fake.client(*[error] * failures, GOOD).open_incidents(POLL)
    assert len(fake.requests) == failures + 1
    with pytest.raises(errors.Temporary) as raised:
        await fake.client(error).open_incidents(POLL)
    assert "pagerduty.invalid" in str(raised.value)
    assert type(error).__name__ in str(raised.value) or not_connected
    assert isinstance(raised.value, errors.Unreachable) == not_connected
    assert (raised.value.status, raised.value.delay) == (None, None)


async def test_a_read_is_tried_four_times_with_growing_pauses(fake: ScriptedPagerDuty) -> None:
    with pytest.raises(errors.Temporary):
        await fake.client(refusal(503)).open_incidents(POLL)
    assert len(fake.requests) == 4
    assert [low <= pause <= 2 * low for low, pause in zip([0.5, 1, 2], fake.pauses, strict=True)] == [True] * 3


async def test_pauses_have_jitter_so_that_clients_do_not_return_at_once(fake: ScriptedPagerDuty) -> None:
    for _ in range(5):
        await fake.client(refusal(503), GOOD).open_incidents(POLL)
    assert len(set(fake.pauses)) == 5


async def test_each_attempt_takes_its_own_permit_and_is_counted(fake: ScriptedPagerDuty) -> None:
    client = fake.client(refusal(500), refusal(502), GOOD)
    await client.open_incidents(CallPriority.RECONCILIATION)
    assert client.calls == 3
    priorities = fake.database.read_now(lambda tx: tx.execute(sa.select(schema.permits.c.priority)).scalars().all())
    assert priorities == [CallPriority.RECONCILIATION] * 3


@pytest.mark.parametrize("priority", CallPriority)
async def test_the_priority_is_passed_to_the_permits(fake: ScriptedPagerDuty, priority: CallPriority) -> None:
    client = fake.client(
        listing("log_entries"), listing("incidents"), listing("users"), httpx.Response(200, json={"incident": {}})
    )
    await client.log_entries(START, START + timedelta(minutes=1), priority)
    await client.open_incidents(priority)
    await client.find_user("alice@example.com", priority)
    await client.incident("P1", priority)
    priorities = fake.database.read_now(lambda tx: tx.execute(sa.select(schema.permits.c.priority)).scalars().all())
    assert priorities == [priority] * 4


async def test_the_client_waits_for_the_budget(fake: ScriptedPagerDuty) -> None:
    permits = fake.permits(Limits(calls=2, period=timedelta(seconds=60), poll_interval=timedelta(seconds=60)))
    client = fake.client(GOOD, permits=permits)
    for _ in range(4):
        await client.open_incidents(POLL)
    first, second, third, fourth = fake.seconds()
    assert third - first >= 60
    assert fourth - second >= 60


async def test_calls_of_one_connection_never_overlap_and_the_most_urgent_goes_first(fake: ScriptedPagerDuty) -> None:
    running = most = 0
    order: list[str] = []
    first = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(request.url.path.rpartition("/")[2])
        await (first.wait() if len(order) == 1 else asyncio.sleep(0))
        running -= 1
        return httpx.Response(200, json={"incident": {"id": "P1"}})

    client = fake.client(transport=httpx.MockTransport(answer))
    calls = [asyncio.create_task(client.incident("running", POLL))]
    async with asyncio.timeout(20):
        await eventually(lambda: order)
        for name, priority in (("sweep", CallPriority.RECONCILIATION), ("poll", POLL), ("action", CallPriority.ACTION)):
            calls.append(asyncio.create_task(client.incident(name, priority)))
            await fake.database.read(lambda _tx: None)
        first.set()
        await asyncio.gather(*calls)
    assert most == 1
    assert order == ["running", "action", "poll", "sweep"]


# --- 429


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"ratelimit-reset": "7"}, 7),
        ({"ratelimit-reset": "7", "retry-after": "50"}, 7),
        ({"Retry-After": "12"}, 12),
        ({"ratelimit-reset": "soon", "retry-after": "12"}, 12),
        ({"ratelimit-reset": "0"}, 1),
        ({"ratelimit-reset": "-5"}, 1),
        ({"ratelimit-reset": "2.5"}, 2.5),
        ({}, 60),
        ({"ratelimit-reset": "nan", "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60),
    ],
)
async def test_after_a_429_no_call_is_made_for_the_requested_time_or_a_minute(
    fake: ScriptedPagerDuty, headers: dict[str, str], seconds: float
) -> None:
    bare = httpx.Response(429, headers=headers)
    await fake.client(bare, GOOD).open_incidents(POLL)
    first, second = fake.seconds()
    assert seconds <= second - first <= seconds + 2
    assert blocked_until(fake) == START + timedelta(seconds=seconds)


async def test_the_other_calls_of_the_connection_wait_as_well(fake: ScriptedPagerDuty) -> None:
    client = fake.client(refusal(429, 2020, headers={"ratelimit-reset": "90"}), GOOD)
    with pytest.raises(errors.Temporary) as raised:
        await client.open_incidents(POLL)
    assert (raised.value.code, raised.value.delay) == (2020, timedelta(seconds=90))
    replica = fake.client(GOOD, permits=fake.permits(instance="two"))
    await replica.open_incidents(CallPriority.ACTION)
    assert fake.seconds()[1] >= 90


@pytest.mark.parametrize("reset", ["61", "100000", "1e300", "inf"])
async def test_a_long_rate_limit_is_not_waited_for_and_is_forgotten_after_five_minutes(
    fake: ScriptedPagerDuty, reset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_permits, "LONGEST_SLEEP", timedelta(seconds=30))
    with pytest.raises(errors.Temporary) as raised:
        await fake.client(httpx.Response(429, headers={"ratelimit-reset": reset})).open_incidents(POLL)
    assert (len(fake.requests), fake.pauses) == (1, [])
    assert raised.value.delay is not None
    assert timedelta(seconds=61) <= raised.value.delay <= timedelta(days=1)
    await fake.client(GOOD).open_incidents(POLL)
    assert fake.seconds()[1] <= permits.LONGEST_BLOCK.total_seconds() + 2


async def test_an_expired_rate_limit_is_forgotten(fake: ScriptedPagerDuty) -> None:
    await fake.client(httpx.Response(429, headers={"ratelimit-reset": "7"}), GOOD).open_incidents(POLL)
    fake.clock.advance(60)
    before = fake.clock()
    await fake.client(GOOD).open_incidents(POLL)
    assert fake.times[-1] == before


async def test_endless_rate_limits_fail_the_read_after_four_attempts(fake: ScriptedPagerDuty) -> None:
    with pytest.raises(errors.Temporary):
        await fake.client(httpx.Response(429, headers={"ratelimit-reset": "5"})).open_incidents(POLL)
    assert len(fake.requests) == pagerduty_client.ATTEMPTS


# --- Retry-After elsewhere


async def test_a_pause_requested_by_the_server_is_kept(fake: ScriptedPagerDuty) -> None:
    await fake.client(httpx.Response(503, headers={"retry-after": "30"}), GOOD).open_incidents(POLL)
    assert fake.pauses == [30]
    assert blocked_until(fake) is None
    with pytest.raises(errors.Temporary):
        await fake.client(httpx.Response(503, headers={"retry-after": "61"})).open_incidents(POLL)
    assert len(fake.requests) == 3


async def test_budget_headers_on_an_ordinary_response_are_not_a_requested_pause(fake: ScriptedPagerDuty) -> None:
    answer = httpx.Response(500, headers={"ratelimit-limit": "960", "ratelimit-reset": "60"})
    await fake.client(answer, GOOD).open_incidents(POLL)
    assert fake.pauses[0] <= 1
    with pytest.raises(errors.Temporary) as raised:
        await fake.client(answer).open_incidents(POLL)
    assert raised.value.delay is None
