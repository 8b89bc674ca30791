"""A target's ``success``: a 2xx answer that does not meet it is a failure, which is retried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.delivery import acceptance
from daemon.fan_out.condition import Condition
from tests.delivery.loop_setup import attempts, delivering, fill, rows, states, target
from tests.harness.eventually import eventually
from tests.harness.receivers import Receiver, Reply

if TYPE_CHECKING:
    from daemon.storage.database import Database

NOT_MET = "the target's success condition is not met"


@pytest.mark.parametrize(
    ("expression", "status", "body", "reason"),
    [
        ("body.ok", 200, b'{"ok": true}', None),
        ("body.ok", 200, b'{"ok": false}', NOT_MET),
        ("body.ok", 200, b"{}", NOT_MET),
        ("body.ok", 200, b'"ok"', NOT_MET),
        ("body.ok", 200, b"ok", f"{NOT_MET} (the body is not JSON)"),
        ("body.ok", 200, b'{"ok": true', f"{NOT_MET} (the body is not JSON)"),
        ("body.ok", 204, b"", f"{NOT_MET} (the body is not JSON)"),
        ("status == `204` || body.ok", 204, b"", None),
        ("length(body.errors) == `0`", 200, b'{"errors": []}', None),
        (
            "length(body.errors) == `0`",
            200,
            b"{}",
            "the target's success condition fails: length() does not take null",
        ),
    ],
)
def test_an_answer_is_a_success_if_it_meets_the_condition(
    expression: str, status: int, body: bytes, reason: str | None
) -> None:
    assert acceptance.reason(Condition(expression), status, body) == reason


async def test_a_message_is_retried_until_the_answer_meets_the_condition(live: Database) -> None:
    answers = iter([Reply(200, body=b'{"ok": false, "why": "busy"}'), Reply(200, body=b"sorry")])
    receiver = Receiver(lambda _request: next(answers, Reply(200, body=b'{"ok": true}')))
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, success="body.ok")):
        await eventually(lambda: states(live), {"delivered": 1})
    first, second, third = attempts(live)
    assert (first.status, first.error, first.answer) == (
        200,
        f"answered 200, but {NOT_MET}",
        '{"ok": false, "why": "busy"}',
    )
    assert second.error == f"answered 200, but {NOT_MET} (the body is not JSON)"
    assert (third.status, third.error) == (200, None)
    assert [row.attempts for row in rows(live)] == [3]
