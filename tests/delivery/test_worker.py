"""An unexpected error in one message or response costs one attempt."""

from __future__ import annotations

import dataclasses
import itertools
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from daemon import errors
from daemon.delivery import worker
from daemon.formats import REGISTRY
from daemon.model import Content, DeliveryState, Message
from daemon.outbound import connection
from daemon.settings import Options, RateLimit
from daemon.storage import results
from tests.conftest import START
from tests.delivery.loop_setup import (
    attempts,
    claim,
    delivering,
    fill,
    rows,
    seen_attempt,
    standing,
    states,
    target,
)
from tests.harness.eventually import eventually
from tests.harness.receivers import Receiver

if TYPE_CHECKING:
    import pytest

    from daemon.storage.database import Database

HOUR = timedelta(hours=1)


async def test_a_template_error_that_is_not_valid_text_fails_like_any_other(live: Database) -> None:
    receiver = Receiver()
    fill(live, ["P1"], ["ops"])
    options = Options(template='{{ "{!\\ud800}".format(1) }} {{ "{!\\x00}".format(1) }}')
    async with receiver.serving() as url, delivering(live, target("ops", url, format="template", options=options)):
        await seen_attempt(live)
    assert "\ufffd" in attempts(live)[0].error


async def test_a_failing_format_costs_one_message_an_attempt_and_affects_no_other(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = REGISTRY["standard"]

    def broken(message: Message, options: Options) -> Content | None:
        if message.id == "msg_evt_0":
            raise RecursionError
        return whole.content(message, options)

    monkeypatch.setitem(REGISTRY, "standard", dataclasses.replace(whole, content=broken))
    receiver = Receiver()
    fill(live, ["P1", "P2", "P3"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: states(live), {"pending": 1, "delivered": 2})
    assert attempts(live)[0].error == "the format standard failed with RecursionError (please report it)"


async def test_a_request_that_raises_is_a_failed_attempt(live: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    fill(live, ["P1"], ["ops"])

    async def broken(_route: connection.PinnedClient, *_request: object) -> connection.Response:
        raise RuntimeError("canary")

    async with receiver.serving() as url:
        with monkeypatch.context() as patched:
            patched.setattr(connection.PinnedClient, "post", broken)
            async with delivering(live, target("ops", url)):
                await seen_attempt(live)
        assert attempts(live)[0].error == "the request failed with RuntimeError (please report it)"


async def test_running_out_of_descriptors_is_our_failure_and_not_the_targets(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "NOT_SENT_PAUSE", timedelta(milliseconds=50))
    receiver = Receiver()
    fill(live, ["P1", "P2", "P3", "P4"], ["ops"])
    post, calls = connection.PinnedClient.post, itertools.count()

    async def exhausted(client: connection.PinnedClient, *request: Any) -> connection.Response:
        if next(calls) < 8:
            raise errors.OutOfResources("could not connect: Too many open files (os error 24)")
        return await post(client, *request)

    monkeypatch.setattr(connection.PinnedClient, "post", exhausted)
    with structlog.testing.capture_logs() as lines:
        async with receiver.serving() as url, delivering(live, target("ops", url)):
            await eventually(lambda: states(live), {"delivered": 4})
    assert [each.error for each in attempts(live)] == [None] * 4, "nothing was attempted before"
    assert standing(live).failing_since is None
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["delivery.not_sent"]


async def test_characters_that_a_database_cannot_store_are_replaced(database: Database) -> None:
    fill(database, ["P1"], ["ops"])
    [delivery] = claim(database).runs[0].deliveries
    result = results.Result(delivery, DeliveryState.PENDING, START, 5, 500, "a\x00b\ud800", "c\x00", START)
    database.write_now(results.record, [result], "one")
    assert (rows(database)[0].last_error, attempts(database)[0].answer) == ("a\ufffdb?", "c\ufffd")


async def test_waiting_for_the_rate_limit_does_not_delay_the_shutdown(live: Database) -> None:
    receiver = Receiver()
    fill(live, ["P1", "P2", "P3"], ["ops"])
    rate = RateLimit(1, HOUR)
    async with receiver.serving() as url, delivering(live, target("ops", url, rate_limit=rate)) as deliveries:
        await eventually(lambda: states(live), {"delivered": 1, "pending": 2})
        started = time.monotonic()
        await deliveries.stop(HOUR)
        assert time.monotonic() - started < 60
    assert {row.claimed_by for row in rows(live)} == {None}
    assert len(receiver.got) == 1
