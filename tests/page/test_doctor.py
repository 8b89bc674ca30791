"""The doctor on the page: it runs when somebody presses the button, and shows each remedy."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING

from tests.page.person import visiting

if TYPE_CHECKING:
    from tests.api.action_api import ActionApi


async def test_the_button_shows_every_finding_with_its_remedy_what_is_wrong_first(action_api: ActionApi) -> None:
    async with visiting(action_api.app) as person:
        assert "Remedy" not in await person.read("/doctor")
        assert list(action_api.simulator.calls) == []
        text = (await person.press("/doctor", "Check now")).text
    findings = (await action_api.http.get("/v1/doctor")).json()["checks"]
    assert text.count('<td data-label="Remedy">') == len(findings)
    problems = [each for each in findings if each["status"] != "ok"]
    assert f"{len(problems)} of {len(findings)} checks need" in text
    assert problems[0]["remedy"] in unescape(text)
    assert text.index("connection refused") < text.index("state ok")
