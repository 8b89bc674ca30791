"""The page in a real browser: its script, its policy, its accessibility. Needs Debian's Chromium."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
import sqlalchemy as sa

from daemon.control import Services
from daemon.control import targets as control
from daemon.storage import schema
from daemon.storage.database import Database, system_clock
from tests.harness import sample_data
from tests.harness.eventually import eventually
from tests.page import browsers
from tests.page.test_signing_in import PAGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Browser, BrowserContext, Route, ViewportSize

    from daemon.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

Look = tuple[str, "ViewportSize", Literal["light", "dark"], list[str] | None]

# The pages that show another page's template in another state: only elements of a new kind are examined on them.
OTHER_STATES = {
    "/targets/chat",
    "/connections/beta",
    "/events?type=incident.triggered&connection=acme",
    "/deliveries?target=ops&state=dead",
    *(f"/deliveries/{number}" for number in range(2, 6)),
    "/actions?state=failed",
    *(f"/actions/act_{number}" for number in range(2, 6)),
}
LONG_WORD = "W" * 300
UPDATED = 3_000  # ms
HIDE = """hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
                      document.dispatchEvent(new Event('visibilitychange')); }"""
CLOSED = "streams.length > 0 && streams.every(each => each.readyState === EventSource.CLOSED)"


@pytest.fixture
def database(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'page.db')}")
    database.write_now(sample_data.fill, system_clock())
    yield database
    database.close()


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    return sample_data.settings(tmp_path, str(database.url))


@pytest.fixture
def woken() -> list[str]:
    """Return the targets that were woken."""
    return []


@pytest.fixture
def services(woken: list[str]) -> Services:
    return Services(wake_targets=woken.extend)


@pytest_asyncio.fixture(loop_scope="module")
async def address(database: Database, settings: Settings, services: Services) -> AsyncIterator[str]:
    async with browsers.served(database, settings, services) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsers.browsing() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def profile(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with browsers.profile(browser) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def without_scripts(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with browsers.profile(browser, java_script_enabled=False) as opened:
        yield opened


async def test_no_page_is_hard_to_use_too_wide_or_breaks_its_policy(profile: BrowserContext, address: str) -> None:
    """Each page is loaded once; on a phone and in the dark, only what depends on size and colours can differ."""
    looks: list[Look] = [
        ("desktop", browsers.DESKTOP, "light", None),
        ("phone", browsers.PHONE, "dark", browsers.OF_LAYOUT),
    ]
    async with browsers.window(profile, address) as window:
        problems = {}
        known: list[str] = []
        for path in PAGES:
            await window.open(path)
            fresh = await window.page.evaluate(browsers.MARK, known)
            known += fresh
            for name, size, colours, rules in looks:
                await window.look(size, colours)
                problems[path, name] = await too_wide(window)
                if path not in OTHER_STATES:
                    problems[path, name] += await window.violations(rules)
                elif fresh:
                    problems[path, name] += await window.violations(rules, "[data-fresh]")
            problems[path, "policy"] = list(window.complaints)
            window.complaints.clear()
            looks.reverse()  # since each change of size costs time
        assert {place: each for place, each in problems.items() if each} == {}
    assert set(PAGES) > OTHER_STATES


async def test_a_text_without_spaces_makes_no_page_wider(
    profile: BrowserContext, address: str, database: Database
) -> None:
    payload = sample_data._text({"incident": {"title": LONG_WORD}, "agent": {"summary": LONG_WORD}})
    database.write_now(lambda tx: tx.execute(sa.update(schema.events).values(payload=payload)))
    async with browsers.window(profile, address) as window:
        for path in ("/events/evt_1", f"/incidents/{LONG_WORD}", f"/deliveries?target={LONG_WORD}"):
            await window.open(path)
            for size in (browsers.DESKTOP, browsers.PHONE):
                await window.look(size, "light")
                assert await too_wide(window) == [], path


async def too_wide(window: browsers.Window) -> list[str]:
    width, limit = await window.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return [f"{width} pixels wide"] if width > limit else []


async def test_the_check_finds_what_is_hard_to_use(profile: BrowserContext, address: str) -> None:
    async with browsers.window(profile, address) as window:
        spoil = "main.insertAdjacentHTML('beforeend', '<img src=/static/icon.svg><p class=spoilt>A faded text</p>')"
        await window.page.evaluate(f"const main = document.getElementById('main'); {spoil}")
        await window.page.evaluate("document.querySelector('.spoilt').style.color = '#ccc'")
        assert {each.partition(":")[0] for each in await window.violations()} == {"image-alt", "color-contrast"}
        assert {each.partition(":")[0] for each in await window.violations(browsers.OF_LAYOUT)} == {"color-contrast"}


async def test_an_open_page_shows_a_change_within_three_seconds_and_keeps_the_focus(
    profile: BrowserContext, address: str, database: Database, settings: Settings, services: Services
) -> None:
    async with browsers.window(profile, address) as window:
        await window.page.focus("text=Retry now")
        await control.pause(database, settings, services, "ops")
        await window.page.wait_for_selector("text=paused by hand", timeout=UPDATED)
        await window.open("/targets/ops")
        link = 'a[href="/deliveries/3"]'
        await window.page.focus(link)
        database.write_now(lambda tx: tx.execute(schema.targets.update().values(last_error="a new reason")))
        database.write_now(
            sample_data.insert, schema.deliveries, sample_data.delivery(9, system_clock(), message_id="msg_9")
        )
        await window.page.wait_for_selector("text=#9", timeout=UPDATED)
        assert await window.page.evaluate("document.activeElement.getAttribute('href')") == "/deliveries/3"
        assert window.complaints == []


async def test_what_changed_before_a_page_listens_is_shown_too(
    profile: BrowserContext, address: str, database: Database
) -> None:
    async def change_first(route: Route) -> None:
        delivery = sample_data.delivery(9, system_clock(), message_id="msg_9")
        database.write_now(sample_data.insert, schema.deliveries, delivery)
        await route.continue_()

    async with browsers.window(profile, address, None) as window:
        await window.sign_in()
        await window.page.route("**/live*", change_first)
        await window.open("/targets/ops")
        await window.page.wait_for_selector("text=#9", timeout=UPDATED)


async def test_a_hidden_page_asks_for_nothing_and_catches_up_on_return(
    profile: BrowserContext, address: str, database: Database, settings: Settings, services: Services
) -> None:
    async with browsers.window(profile, address) as window:
        await window.page.evaluate(HIDE, True)  # noqa: FBT003 - the script's argument
        assert await window.page.evaluate(CLOSED), "no signal can come"
        await control.pause(database, settings, services, "ops")
        assert await window.requests_in_a_long_time() == []
        await window.page.evaluate(HIDE, False)  # noqa: FBT003 - as above
        await window.page.wait_for_selector("text=paused by hand")


async def test_updates_wait_while_somebody_types_or_has_paused_them(
    profile: BrowserContext, address: str, database: Database
) -> None:
    async with browsers.window(profile, address, "/deliveries") as window:
        await eventually(lambda: window.page.evaluate("streams[0].readyState === EventSource.OPEN"))
        await window.page.fill("#f-incident", "P")
        database.write_now(
            sample_data.insert, schema.deliveries, sample_data.delivery(9, system_clock(), message_id="msg_9")
        )
        await eventually(lambda: window.page.evaluate("signals > 0"))
        assert await window.requests_in_a_long_time() == []
        assert await window.page.locator("text=#9").count() == 0
        await window.page.evaluate("document.activeElement.blur()")
        await window.page.wait_for_selector("text=#9")
        await window.page.keyboard.press("p")
        assert await window.page.inner_text("#live-switch") == "Updates paused"
        assert await window.page.evaluate(CLOSED), "no signal can come"
        database.write_now(
            sample_data.insert, schema.deliveries, sample_data.delivery(10, system_clock(), message_id="msg_10")
        )
        assert await window.requests_in_a_long_time() == []
        assert await window.page.locator("text=#10").count() == 0
        await window.page.keyboard.press("p")
        await window.page.wait_for_selector("text=#10")


async def test_a_button_that_is_pressed_is_not_replaced(
    profile: BrowserContext, address: str, database: Database, woken: list[str]
) -> None:
    async with browsers.window(profile, address, "/deliveries/3") as window:
        await eventually(lambda: window.page.evaluate("streams[0].readyState === EventSource.OPEN"))
        await window.page.hover(".buttons button >> nth=0")
        await window.page.mouse.down()
        database.write_now(lambda tx: tx.execute(schema.targets.update().values(last_error="a new reason")))
        await eventually(lambda: window.page.evaluate("signals > 0"))
        assert await window.requests_in_a_long_time() == []
        async with window.shows_another():
            await window.page.mouse.up()
        assert woken == ["ops"]


def leave_one_trouble(tx: sa.Connection) -> None:
    """Leave the failing target as the only thing that needs attention."""
    tx.execute(schema.connections.update().values(failing_since=None))
    tx.execute(schema.actions.delete())
    tx.execute(schema.instances.update().values(heartbeat_at=system_clock()))


async def test_from_a_red_target_to_its_attempts_and_sending_again_takes_four_keys(
    profile: BrowserContext, address: str, database: Database, woken: list[str]
) -> None:
    database.write_now(leave_one_trouble)
    async with browsers.window(profile, address) as window:
        for key in ("j", "Enter"):
            await window.page.keyboard.press(key)
        await window.page.wait_for_url("**/deliveries/3")
        assert "no response within 15 s" in await window.page.inner_text("#attempts")
        await window.page.keyboard.press("1")
        async with window.shows_another():
            await window.page.keyboard.press("Enter")
        assert woken == ["ops"]


@pytest.mark.parametrize("has_script", [True, False], ids=["with a script", "without"])
async def test_from_a_red_target_to_its_attempts_and_sending_again_takes_two_clicks(
    profile: BrowserContext,
    without_scripts: BrowserContext,
    address: str,
    database: Database,
    woken: list[str],
    *,
    has_script: bool,
) -> None:
    database.write_now(leave_one_trouble)
    async with browsers.window(profile if has_script else without_scripts, address) as window:
        await window.page.click("text=last failed attempt")
        assert "no response within 15 s" in await window.page.inner_text("#attempts")
        async with window.shows_another():
            await window.page.click(".buttons button >> nth=0")
        assert woken == ["ops"]


async def test_a_long_pick_list_is_looked_up_once_after_the_last_key(profile: BrowserContext, address: str) -> None:
    async with browsers.window(profile, address, "/actions/new?operation=AddNoteToIncident&connection=acme") as window:
        options = '<datalist><option value="PALICE">Alice Archer</option></datalist>'
        requests: list[str] = []

        async def answer(route: Route) -> None:
            requests.append(route.request.url)
            await route.fulfill(body=options, content_type="text/html")

        await window.page.route("**/options?*", answer)
        await window.page.evaluate("document.getElementById('p-userId').dataset.lookUp = '/actions/new/options?x=y'")
        await window.page.focus("#p-userId")
        await window.page.clock.pause_at(system_clock() + timedelta(minutes=1))
        for key in "alice":
            await window.page.keyboard.press(key)
        assert requests == []
        await window.page.clock.run_for(500)
        await eventually(lambda: window.page.evaluate("document.getElementById('l-userId').options.length"), 1)
        assert requests == [f"{address}/actions/new/options?x=y&text=alice"]
        assert window.complaints == []


async def test_times_are_shown_in_the_readers_zone_with_utc_beside_them(profile: BrowserContext, address: str) -> None:
    async with browsers.window(profile, address, "/events/evt_1") as window:
        text = await window.page.inner_text("main time[data-at] >> nth=0")
        assert "UTC)" in text
        assert await window.page.get_attribute("main time[data-at] >> nth=0", "title")
        await window.open("/")
        label = window.page.locator("svg.chart [data-hour] >> nth=0")
        local = await label.text_content()
        at = datetime.fromisoformat(await label.get_attribute("data-hour") or "")
        assert local == f"{at.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}"
        assert await window.page.inner_text("figcaption [data-zone] >> nth=0") == "(local time)"


async def test_without_a_script_somebody_signs_in_and_uses_a_button(
    without_scripts: BrowserContext, address: str
) -> None:
    async with browsers.window(without_scripts, address, None) as window:
        await window.open("/targets/ops")
        await window.page.fill("#token", sample_data.TOKEN)
        await window.page.click("button.main")
        await window.page.click("text=Pause >> nth=0")
        assert "paused by hand" in await window.page.inner_text("main")
        assert await window.page.locator("#live-switch, .script-only").locator("visible=true").count() == 0
