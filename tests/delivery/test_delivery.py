"""Deliveries from end to end: contents, order, and misbehaving targets."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from daemon.formats import template
from daemon.model import Order
from daemon.runtime.presence import Presence
from daemon.settings import Options, RateLimit, Retry
from daemon.storage import claims, schema
from tests.delivery.loop_setup import WANTED, attempts, delivering, fill, rows, standing, states, target
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, SECRET, Receiver, Reply, Request

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.storage.database import Database


def numbers(receiver: Receiver) -> list[int]:
    """Return the numbers of the events that were accepted, in order."""
    return [int(request.json["data"]["note"]["content"]) for request in receiver.accepted]


async def test_each_message_is_signed_sent_and_recorded(live: Database) -> None:
    receiver = Receiver()
    fill(live, ["P1", "P2", "P1"], ["ops"])
    async with receiver.serving() as url:
        async with delivering(live, target("ops", url, headers=(("X-Team", SecretStr("blue")),))):
            await eventually(lambda: states(live), {"delivered": 3})
    assert sorted(numbers(receiver)) == [0, 1, 2]
    assert {request.headers["x-team"] for request in receiver.got} == {"blue"}
    assert receiver.got[0].headers["content-type"] == "application/json"
    assert receiver.got[0].headers["user-agent"].startswith("pagerelay/")
    assert [(row.state, row.attempts, row.last_status, row.claimed_by) for row in rows(live)] == [
        ("delivered", 1, 200, None)
    ] * 3
    assert [(row.status, row.error, row.answer) for row in attempts(live)] == [(200, None, None)] * 3


async def test_id_and_body_are_the_same_in_every_attempt_of_every_daemon(live: Database) -> None:
    answers = itertools.chain([Reply(500), Reply(503)], itertools.repeat(OK))
    receiver = Receiver(lambda _request: next(answers))
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url:
        async with delivering(live, target("ops", url), instance="one"):
            await eventually(lambda: receiver.got)
        async with delivering(live, target("ops", url), instance="two"):
            await eventually(lambda: states(live), {"delivered": 1})
    assert len({(request.id, request.body) for request in receiver.got}) == 1
    assert len(receiver.got) == 3


async def test_a_response_other_than_2xx_is_retried_and_redirects_are_not_followed(live: Database) -> None:
    elsewhere = Receiver()
    async with elsewhere.serving() as other:
        statuses = iter(
            [Reply(404), Reply(403), Reply(429), Reply(302, {"location": other}), Reply(500, body=b"oh no"), OK]
        )
        receiver = Receiver(lambda _request: next(statuses))
        fill(live, ["P1"], ["ops"])
        async with receiver.serving() as url, delivering(live, target("ops", url)):
            await eventually(lambda: states(live), {"delivered": 1})
    assert elsewhere.got == []
    assert [row.status for row in attempts(live)] == [404, 403, 429, 302, 500, 200]
    assert attempts(live)[4].answer == "oh no"


async def test_the_delivery_of_a_targets_last_failed_attempt_is_recorded(live: Database) -> None:
    failing, well = Receiver(lambda _request: Reply(500)), Receiver()
    fill(live, ["P1", "P2"], ["ops", "chat"])
    async with failing.serving() as url, well.serving() as other:
        async with delivering(live, target("ops", url), target("chat", other)):
            await eventually(lambda: len(attempts(live)) >= 4)
    last = [each.delivery_id for each in attempts(live) if each.error is not None][-1]
    assert standing(live).last_failed == last
    assert standing(live, "chat").last_failed is None


async def test_a_header_that_is_not_text_is_a_failed_attempt_like_others(live: Database) -> None:
    replies = itertools.chain([Reply(503, {"retry-after": "ÿ"})], itertools.repeat(OK))
    receiver = Receiver(lambda _request: next(replies))
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: states(live), {"delivered": 1})
    assert [row.status for row in attempts(live)] == [503, 200]


@pytest.mark.parametrize("how", ["hang", "drip", "reset", "endless"])
async def test_an_attempt_times_out_whatever_the_target_does(live: Database, how: str) -> None:
    replies = itertools.chain([Reply(500 if how in {"drip", "endless"} else 200, how=how)], itertools.repeat(OK))
    receiver = Receiver(lambda _request: next(replies))
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, timeout=timedelta(milliseconds=300))):
        await eventually(lambda: states(live), {"delivered": 1})
    first, *_, last = attempts(live)
    assert first.duration_ms < 10_000
    assert (first.error is not None, last.status) == (True, 200)


async def test_a_target_that_does_not_listen_is_a_clear_error(live: Database) -> None:
    receiver = Receiver()
    async with receiver.serving() as url:
        pass
    fill(live, ["P1"], ["ops"])
    async with delivering(live, target("ops", f"{url}?token=hush")):
        await eventually(lambda: attempts(live))
    assert "could not connect" in attempts(live)[0].error
    assert "hush" not in attempts(live)[0].error


async def test_no_recorded_attempt_contains_a_secret_that_the_target_echoes(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(500, body=f"{SECRET} {request.headers['x-key']} \0".encode()))
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url:
        async with delivering(live, target("ops", url, headers=(("x-key", SecretStr("canary-header")),))):
            await eventually(lambda: len(receiver.got) >= 2)
    assert attempts(live)[0].answer == "*** *** \ufffd"


async def test_both_secrets_sign_during_a_rotation(live: Database) -> None:
    old, new = SECRET, "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldw=="
    receiver = Receiver()
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url:
        chosen = target("ops", url)
        both = type(chosen)(chosen.name, chosen.url, (SecretStr(new), SecretStr(old)), retry=chosen.retry)
        async with delivering(live, both):
            await eventually(lambda: states(live), {"delivered": 1})
    request = receiver.got[0]
    for secret in (old, new):
        Webhook(secret).verify(request.body, request.headers)
    assert len(request.headers["webhook-signature"].split(" ")) == 2


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_order_per_incident_survives_failures_and_other_incidents_overtake(live: Database, seed: int) -> None:
    luck = random.Random(seed)
    receiver = Receiver(lambda _request: OK if luck.random() < 0.6 else luck.choice([Reply(500), Reply(how="reset")]))
    incidents = [f"P{luck.randrange(6)}" for _ in range(60)]
    fill(live, incidents, ["ops"])
    async with (
        receiver.serving() as url,
        delivering(live, target("ops", url), instance="one"),
        delivering(live, target("ops", url), instance="two"),
    ):
        await eventually(lambda: states(live), {"delivered": 60})
    by_incident: dict[str, list[int]] = {}
    for number in numbers(receiver):
        by_incident.setdefault(incidents[number], []).append(number)
    assert sorted(numbers(receiver)) == list(range(60))
    for incident, told in by_incident.items():
        assert told == sorted(told), incident


async def test_a_message_waits_while_an_earlier_one_of_its_incident_is_retried(live: Database) -> None:
    down = True
    receiver = Receiver(lambda request: Reply(500) if down and '"id":"P1"' in request.body.decode() else OK)
    fill(live, ["P1", "P1", "P2"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        await eventually(lambda: states(live), {"delivered": 1, "pending": 2})
        fill(live, ["P1"], ["ops"], first=3)
        deliveries.wake(["ops"])
        await eventually(lambda: len(receiver.got) >= 8)
        assert {request.id for request in receiver.got} == {"msg_evt_0", "msg_evt_2"}
        down = False
        await eventually(lambda: states(live), {"delivered": 4})
    assert numbers(receiver) == [2, 0, 1, 3]


async def test_without_ordering_later_messages_overtake(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(500) if request.id == "msg_evt_0" else OK)
    fill(live, ["P1", "P1", "P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, order=Order.NONE)):
        await eventually(lambda: states(live), {"delivered": 2, "pending": 1})


async def test_a_hanging_target_delays_no_other(live: Database) -> None:
    hanging, healthy = Receiver(lambda _request: Reply(how="hang")), Receiver()
    fill(live, [f"P{number}" for number in range(300)], ["slow", "fast"])
    async with hanging.serving() as slow, healthy.serving() as fast:
        targets = target("slow", slow, timeout=timedelta(seconds=60)), target("fast", fast)
        running = delivering(live, *targets)
        deliveries = await running.__aenter__()
        await eventually(lambda: len(healthy.accepted), 300)
        assert len(hanging.got) <= 8
        await deliveries.stop(timedelta(0))
    assert {row.claimed_by for row in rows(live)} == {None}


async def test_concurrent_attempts_stay_within_the_target_limit(live: Database) -> None:
    most = 0
    turns = asyncio.Semaphore(0)

    def behave(_request: Request) -> Reply:
        nonlocal most
        most = max(most, len(receiver.got) + 1 - len(receiver.accepted))
        return Reply(held=turns.acquire)

    receiver = Receiver(behave)
    fill(live, [f"P{number}" for number in range(20)], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=3)):
        for came in range(3, 21):
            await eventually(lambda: len(receiver.got), came)
            turns.release()
        turns.release()
        turns.release()
        await eventually(lambda: len(receiver.accepted), 20)
    assert most == 3
    assert receiver.connections <= 3


async def test_attempts_per_period_stay_within_the_target_rate(live: Database) -> None:
    receiver = Receiver()
    fill(live, [f"P{number}" for number in range(9)], ["ops"])
    limited = RateLimit(3, timedelta(milliseconds=400))
    async with receiver.serving() as url, delivering(live, target("ops", url, rate_limit=limited)):
        await eventually(lambda: states(live), {"delivered": 9})
    times = [row.at.timestamp() - row.duration_ms / 1000 for row in attempts(live)]
    assert max(times) - min(times) >= 0.6  # two periods of three, and a bit for the end of an attempt to be noticed


async def test_retry_after_is_honoured(live: Database) -> None:
    replies = itertools.chain([Reply(503, {"retry-after": "1"})], itertools.repeat(OK))
    receiver = Receiver(lambda _request: next(replies))
    fill(live, ["P1"], ["ops"])
    patient = Retry(first=timedelta(milliseconds=10), max=timedelta(seconds=5))
    async with receiver.serving() as url, delivering(live, target("ops", url, retry=patient)):
        await eventually(lambda: states(live), {"delivered": 1})
    first, second = attempts(live)
    assert (second.at - first.at).total_seconds() >= 0.95


async def test_after_the_horizon_a_delivery_is_dead_and_the_next_one_is_sent(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(500) if request.id == "msg_evt_0" else OK)
    fill(live, ["P1", "P1"], ["ops"])
    brief = Retry(first=timedelta(milliseconds=20), max=timedelta(milliseconds=50), horizon=timedelta(milliseconds=300))
    async with receiver.serving() as url, delivering(live, target("ops", url, retry=brief)):
        await eventually(lambda: states(live), {"dead": 1, "delivered": 1})
    assert rows(live)[0].last_error == "answered 500"
    assert rows(live)[0].finished_at is not None


async def test_on_shutdown_running_attempts_finish_and_the_rest_stays_pending(live: Database) -> None:
    gate = asyncio.Event()
    receiver = Receiver(lambda _request: Reply(held=gate.wait))
    fill(live, [f"P{number}" for number in range(40)], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=4)):
        await eventually(lambda: len(receiver.got) >= 4)
        asyncio.get_running_loop().call_soon(gate.set)  # that is when stopping has begun
    states = [row.state for row in rows(live)]
    assert (states.count("delivered"), states.count("pending")) == (4, 36)
    assert {row.claimed_by for row in rows(live)} == {None}
    assert len(receiver.got) == 4


async def test_deliveries_claimed_by_a_dead_daemon_are_sent_by_another_with_the_same_id(live: Database) -> None:
    fill(live, ["P1", "P2"], ["ops"])
    live.write_now(lambda tx: claims.claim(tx, WANTED, "dead", live.now(tx)))
    receiver = Receiver()
    async with receiver.serving() as url, delivering(live, target("ops", url), instance="two") as deliveries:
        fill(live, ["P3"], ["ops"], first=2)
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 1, "pending": 2})
        live.write_now(claims.release, ["dead"])
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 3})
    assert sorted(request.id for request in receiver.got) == ["msg_evt_0", "msg_evt_1", "msg_evt_2"]


async def test_a_daemon_presumed_dead_changes_nothing_afterwards(live: Database) -> None:
    gate = asyncio.Event()
    receiver = Receiver(lambda _request: Reply(500, held=gate.wait))
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url), instance="slow"):
        await eventually(lambda: receiver.got)
        live.write_now(claims.release, ["slow"])
        live.write_now(lambda tx: claims.claim(tx, WANTED, "other", live.now(tx)))
        gate.set()
    assert [(row.state, row.claimed_by, row.attempts) for row in rows(live)] == [("pending", "other", 0)]


async def test_a_daemon_that_stood_still_sends_nothing_that_it_had_claimed(live: Database) -> None:
    seconds = [0.0]
    presence = Presence(timedelta(seconds=13), lambda: seconds[0])
    gate = asyncio.Event()
    receiver = Receiver(lambda _request: Reply(200, held=gate.wait))
    fill(live, ["P1", "P2", "P3"], ["ops"])
    async with receiver.serving() as url:
        ops = target("ops", url, concurrency=1)
        async with delivering(live, ops, instance="slow", presence=presence) as deliveries:
            await eventually(lambda: receiver.got)
            seconds[0] = 60.0
            gate.set()
            await eventually(lambda: [row.claimed_by for row in rows(live)], [None, None, None])
            assert len(receiver.got) == 1
            deliveries.wake(["ops"])
            presence.confirm(presence.now())
            await eventually(lambda: states(live), {"delivered": 3})


async def test_a_template_that_never_finishes_delays_no_other_target(live: Database) -> None:
    """The template renders when its turn comes, in a thread: neither the claim nor the loop waits for it."""
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    receivers = Receiver(), Receiver()
    fill(live, [f"P{number}" for number in range(12)], ["bad", "chat", "plain"])
    before = os.times()
    async with receivers[0].serving() as here, receivers[1].serving() as there:
        chat = target("chat", here, format="template", options=Options(template='{"note": {{ data.note.content }}}'))
        bad = target("bad", there, format="template", options=Options(template=endless), concurrency=1)
        async with delivering(live, bad, chat, target("plain", there)):
            await eventually(lambda: [len(receiver.accepted) for receiver in receivers], [12, 12])
            wasted = os.times().children_user - before.children_user
    assert sorted(request.json["note"] for request in receivers[0].accepted) == list(range(12))
    assert {row.target for row in rows(live) if row.state == "delivered"} <= {"chat", "plain"}
    assert wasted < 12 * template.SECONDS / 2


async def test_a_message_whose_template_fails_is_retried_with_the_reason(live: Database) -> None:
    receiver = Receiver()
    fill(live, ["P1"], ["chat"])
    async with receiver.serving() as url:
        chat = target("chat", url, format="template", options=Options(template="{{ 1 // 0 }}"))
        async with delivering(live, chat):
            await eventually(lambda: len(attempts(live)) >= 2)
    (row,) = rows(live)
    assert (row.state, row.last_status) == ("pending", None)
    assert row.last_error == "line 1: integer division or modulo by zero"
    assert receiver.got == []


def noted_success(database: Database) -> datetime | None:
    """Return the recorded time of the last success of ops."""
    query = sa.select(schema.targets.c.last_success_at).where(schema.targets.c.name == "ops")
    success_at: datetime | None = database.read_now(lambda tx: tx.execute(query).scalar())
    return success_at


async def test_a_success_is_recorded_once_and_hides_no_later_one_of_another_daemon(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.delivery.circuit.SUCCESS_SECONDS", 0.0)  # anything to note is noted at once
    receiver = Receiver()
    async with receiver.serving() as url, delivering(live, target("ops", url), target("chat", url)) as deliveries:
        fill(live, ["P1"], ["ops"])
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 1})
        later = live.read_now(live.now) + timedelta(seconds=1)
        noted = schema.targets.update().where(schema.targets.c.name == "ops").values(last_success_at=later)
        await eventually(lambda: noted_success(live) is not None)
        live.write_now(lambda tx: tx.execute(noted) and None)
        fill(live, ["P2"], ["chat"], first=1)
        deliveries.wake(["chat"])
        await eventually(lambda: len(receiver.accepted) >= 2)
    assert noted_success(live) == later
