"""What the demo prints on a terminal of 80 columns."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from daemon.simulator import demo
from daemon.simulator.demo import Demonstration
from daemon.simulator.http import SimRequest
from daemon.simulator.receiver import Received, Receivers
from tests.harness.watch import Watch

if TYPE_CHECKING:
    import pytest


def received(target: str, attempt: int, status: int, kind: str = "incident.triggered") -> Received:
    body = {"type": kind, "data": {"event_id": "evt_1", "incident": {"incident_number": 1}}}
    return Received(target, "msg_1", attempt, status, body)


def test_webhooks_and_retries_fit_on_a_line_of_80_columns_in_normal_brightness() -> None:
    output = io.StringIO()
    demonstration = Demonstration(Console(width=80, file=output, force_terminal=True, color_system=None))
    targets = [received("ops", 1, 200), received("chat", 1, 200), received("moody", 1, 503), received("crm", 1, 503)]
    demonstration._print_attempts(targets)
    demonstration._print_attempts([received("moody", 2, 503)], "attempt 2, same webhook-id")
    first, second = output.getvalue().splitlines()
    assert first[8:].split() == [
        "webhook",
        "#1",
        "triggered",
        "→",
        *["ops", "200", "chat", "200", "moody", "503", "crm", "503"],
    ]
    assert second[8:].rstrip().endswith("moody 503  attempt 2, same webhook-id")
    coloured = io.StringIO()
    demonstration = Demonstration(Console(width=80, file=coloured, force_terminal=True, color_system="standard"))
    demonstration._print_attempts(targets)
    time, _, story = coloured.getvalue().partition("webhook")
    assert "\x1b[2m" in time
    assert "\x1b[2m" not in story


def test_a_long_line_of_the_story_wraps_within_its_column() -> None:
    output = io.StringIO()
    demonstration = Demonstration(Console(width=80, file=output))
    kind = "incident.custom_field_values.updated"
    demonstration._print_attempts(
        [received("ops", 1, 200, kind), received("chat", 1, 200, kind), received("moody", 3, 503, kind)], "attempt 3"
    )
    first, *others = output.getvalue().splitlines()
    assert max(map(len, [first, *others])) <= 80
    assert first.rstrip().endswith(kind.removeprefix("incident."))
    assert all(each.startswith(" " * 21) for each in others)
    assert "".join(others).split() == ["→", "ops", "200", "chat", "200", "moody", "503", "attempt", "3"]


def test_the_arrows_of_the_story_stay_below_each_other() -> None:
    output = io.StringIO()
    demonstration = Demonstration(Console(width=80, file=output))
    for kind in ("incident.resolved", "incident.unacknowledged", "incident.custom_field_values.updated"):
        demonstration._print_attempts([received("ops", 1, 200, kind)])
    assert len({line.index("→") for line in output.getvalue().splitlines() if "→" in line}) == 1


def test_the_instructions_name_the_command_also_when_the_demo_was_started_as_a_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/daemon/__main__.py", "demo"])
    demonstration = Demonstration(Console(file=io.StringIO()))
    account = demonstration._account
    incident = account.trigger("Disk almost full")
    assert "\n  pagerelay incidents\n" in demonstration._your_turn(incident, account.directory.users[0])


async def test_one_receiver_is_down_for_minutes_says_why_and_recovers() -> None:
    watch, seen = Watch(), list[Received]()
    secret, key = "whsec_" + base64.b64encode(b"k" * 32).decode(), b"k" * 32
    receivers = Receivers(secret, {}, seen.append, {demo.DOWN: demo.OUTAGE}, watch)

    async def attempt(target: str) -> tuple[int, bytes]:
        body = b'{"data": {"event_id": "evt_1"}}'
        digest = base64.b64encode(hmac.digest(key, b"msg_1.1." + body, hashlib.sha256)).decode()
        headers = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": f"v1,{digest}"}
        response = await receivers.answer(SimRequest("POST", f"/{target}", (), headers, body))
        return response.status, response.body

    assert await attempt("ops") == (200, b"")
    for _ in range(2):
        assert await attempt(demo.DOWN) == (503, b"down for maintenance, back in a few minutes")
        watch.seconds += demo.OUTAGE / 2
    assert await attempt(demo.DOWN) == (200, b"")
    assert [each.status for each in seen] == [200, 503, 503, 200]


def test_the_introduction_says_which_receiver_is_down_and_for_how_long() -> None:
    assert f'"{demo.DOWN}" is down for the first 3 minutes' in demo.INTRODUCTION
    assert max(map(len, demo.INTRODUCTION.splitlines())) <= 80
    assert demo._targets_of("incident.triggered") == [*demo.TARGETS]
    assert demo.DOWN not in demo._targets_of("incident.resolved")
