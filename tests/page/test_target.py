"""The page of one target, and its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.page.person import Person


async def test_it_says_why_a_target_fails_and_shows_its_deliveries(person: Person) -> None:
    text = await person.read("/targets/ops")
    for each in (
        "Failing since",
        "could not connect: Connection refused",
        "answered 503",
        "https://ops.example.com:8443/…",
    ):
        assert each in text


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
