"""The page of one target, and its buttons."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.storage import schema

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock
    from tests.page.person import Person

MINUTE = timedelta(minutes=1)


async def test_it_says_why_a_target_fails_and_shows_its_deliveries(person: Person) -> None:
    text = await person.read("/targets/ops")
    for each in (
        "Failing since",
        "answered 503",
        "https://ops.example.com:8443/…",
    ):
        assert each in text


@pytest.mark.parametrize("path", ["/", "/targets/ops"])
async def test_a_failing_target_is_shown_with_what_it_responded_last(path: str, person: Person) -> None:
    text = await person.read(path)
    words = text[text.index('<p class="failure">') :].partition("</p>")[0]
    assert "full\ufffd[0m on db1 [bold]</q>" in words
    assert 'href="/deliveries/3"' in words


async def test_what_a_target_responds_is_escaped_and_shortened(person: Person, database: Database) -> None:
    answer = "<script>alert(1)</script>" + 2000 * "x"
    database.write_now(lambda tx: tx.execute(schema.attempts.update().values(answer=answer)) and None)
    text = await person.read("/targets/ops")
    words = text[text.index('<p class="failure">') :].partition("</p>")[0]
    assert "<q>&lt;script&gt;alert(1)&lt;/script&gt;xxx" in words
    assert words.count("x") < 200
    assert "xx…</q>" in words


async def test_an_earlier_failure_of_a_target_that_succeeded_since_is_not_shown(
    person: Person, database: Database, clock: ManualClock
) -> None:
    since = schema.targets.update().values(last_success_at=clock.now)
    database.write_now(lambda tx: tx.execute(since) and None)
    assert 'class="failure"' not in await person.read("/targets/ops")


async def test_deliveries_that_were_attempted_and_wait_come_before_the_newest(person: Person) -> None:
    text = await person.read("/targets/ops")
    section = text[text.index('id="retrying"') :].partition("</section>")[0]
    assert re.findall(r"#(\d+)</a>", section) == ["3"]
    assert text.index('id="retrying"') < text.index('id="deliveries"')
    assert 'href="/deliveries?target=ops&amp;state=retrying"' in section
    assert 'id="retrying"' not in await person.read("/targets/chat")


@pytest.mark.parametrize(
    ("state", "sentence", "cell"),
    [
        (
            {"probe_at": MINUTE},
            "one delivery at a time until it accepts one. The next probe is",
            "target failing, probed",
        ),
        ({"failing_since": None, "blocked_until": MINUTE}, "requested a pause (Retry-After)", "target blocked, next"),
        ({"paused_at": -MINUTE}, "which is paused, is resumed.", "target paused"),
    ],
)
async def test_a_delivery_says_that_it_waits_for_its_target(
    person: Person, database: Database, clock: ManualClock, state: dict[str, timedelta | None], sentence: str, cell: str
) -> None:
    values = {name: None if each is None else clock.now + each for name, each in state.items()}
    database.write_now(lambda tx: tx.execute(schema.targets.update().values(values)) and None)
    text = await person.read("/deliveries/3")
    lead = text[text.index('<p class="lead">') :].partition("</p>")[0]
    assert sentence in lead
    assert ("in 1 min" in lead) == ("paused_at" not in state)
    assert f"{cell}" in await person.read("/deliveries?state=retrying")


async def test_a_target_is_paused_resumed_and_tested_without_a_script(person: Person, woken: list[str]) -> None:
    response = await person.press("/targets/chat", "Pause")
    assert (response.status_code, response.headers["location"]) == (303, "/targets/chat")
    assert "Paused since" in await person.read("/targets/chat")
    await person.press("/targets/chat", "Resume")
    assert woken == ["chat"]
    assert "Paused since" not in await person.read("/targets/chat")


async def test_a_test_shows_each_sample_and_what_came_back(person: Person) -> None:
    response = await person.press("/targets/ops", "Send a test")
    place = response.headers["location"]
    assert (response.status_code, place.startswith("/targets/ops?test=")) == (303, True)
    text = await person.read(place)
    assert "incident.triggered" in text.partition("<h2>Test</h2>")[2].partition("</section>")[0]
    assert "have expired" in await person.read("/targets/ops?test=unknown")
    assert "have expired" in await person.read(place.replace("ops", "chat"))
