"""The page in a real browser: its script, its policy, its accessibility. Needs Debian's Chromium."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from daemon.control import Services
from daemon.control import targets as control
from daemon.storage import schema
from daemon.storage.database import Database, system_clock
from tests.harness import shown
from tests.harness.eventually import eventually
from tests.page import browsers
from tests.page.test_signing_in import PAGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import sqlalchemy as sa
    from playwright.async_api import Browser

    from daemon.settings import Settings

UPDATED = 3_000  # ms
HIDE = """hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
                      document.dispatchEvent(new Event('visibilitychange')); }"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'page.db'}")
    database.upgrade()
    database.write_now(shown.fill, system_clock())
    yield database
    database.close()


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    return shown.settings(tmp_path, str(database.url))


@pytest.fixture
def woken() -> list[str]:
    """The targets that were woken."""
    return []


@pytest.fixture
def services(woken: list[str]) -> Services:
    return Services(wake_targets=woken.extend)


@pytest.fixture
async def address(database: Database, settings: Settings, services: Services) -> AsyncIterator[str]:
    async with browsers.served(database, settings, services) as url:
        yield url


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsers.browsing() as started:
        yield started


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(browsers.DESKTOP, "light"), (browsers.PHONE, "dark")], ids=["desktop", "phone"]
)
async def test_no_page_is_hard_to_use_too_wide_or_breaks_its_policy(
    browser: Browser, address: str, viewport: dict[str, int], scheme: str
) -> None:
    async with browsers.window(browser, address, viewport=viewport, color_scheme=scheme) as window:
        found = {}
        for path in PAGES:
            await window.open(path)
            width = await window.page.evaluate("document.documentElement.scrollWidth")
            found[path] = [*await window.violations(), *window.complaints]
            found[path] += [f"{width} pixels wide"] if width > viewport["width"] else []
            window.complaints.clear()
        assert {path: problems for path, problems in found.items() if problems} == {}


async def test_an_open_page_shows_a_change_within_three_seconds_and_keeps_the_focus(
    browser: Browser, address: str, database: Database, settings: Settings, services: Services
) -> None:
    async with browsers.window(browser, address) as window:
        await window.page.focus("text=Retry now")
        await control.pause(database, settings, services, "ops")
        await window.page.wait_for_selector("text=paused by hand", timeout=UPDATED)
        await window.open("/targets/ops")
        link = 'a[href="/deliveries/3"]'
        await window.page.focus(link)
        database.write_now(lambda tx: tx.execute(schema.targets.update().values(last_error="a new reason")))
        database.write_now(shown.insert, schema.deliveries, shown.delivery(9, system_clock(), message_id="msg_9"))
        await window.page.wait_for_selector("text=#9", timeout=UPDATED)
        assert await window.page.evaluate("document.activeElement.getAttribute('href')") == "/deliveries/3"
        assert window.complaints == []


async def test_a_hidden_page_asks_for_nothing_and_catches_up_on_return(
    browser: Browser, address: str, database: Database, settings: Settings, services: Services
) -> None:
    async with browsers.window(browser, address) as window:
        await window.page.wait_for_load_state("load")
        await window.page.evaluate(HIDE, True)  # noqa: FBT003 - the script's argument
        requests: list[str] = []
        window.page.on("request", lambda request: requests.append(request.url))
        await control.pause(database, settings, services, "ops")
        await asyncio.sleep(2.5)  # nothing to wait for: the absence of requests is the point
        assert requests == []
        await window.page.evaluate(HIDE, False)  # noqa: FBT003 - as above
        await window.page.wait_for_selector("text=paused by hand", timeout=UPDATED)


async def test_updates_wait_while_somebody_types_or_has_paused_them(
    browser: Browser, address: str, database: Database
) -> None:
    async with browsers.window(browser, address) as window:
        await window.open("/deliveries")
        await window.page.fill("#f-incident", "P")
        database.write_now(shown.insert, schema.deliveries, shown.delivery(9, system_clock(), message_id="msg_9"))
        await asyncio.sleep(2.5)  # as above
        assert await window.page.locator("text=#9").count() == 0
        await window.page.evaluate("document.activeElement.blur()")
        await window.page.wait_for_selector("text=#9", timeout=UPDATED)
        await window.page.keyboard.press("p")
        assert await window.page.inner_text("#live-switch") == "Updates paused"
        database.write_now(shown.insert, schema.deliveries, shown.delivery(10, system_clock(), message_id="msg_10"))
        await asyncio.sleep(2.5)  # as above
        assert await window.page.locator("text=#10").count() == 0
        await window.page.keyboard.press("p")
        await window.page.wait_for_selector("text=#10", timeout=UPDATED)


async def test_from_a_red_target_to_its_attempts_and_sending_again_takes_four_keys(
    browser: Browser, address: str, database: Database, woken: list[str]
) -> None:
    def mend_others(tx: sa.Connection) -> None:
        tx.execute(schema.connections.update().values(failing_since=None))
        tx.execute(schema.actions.delete())
        tx.execute(schema.instances.update().values(heartbeat_at=system_clock()))

    database.write_now(mend_others)
    async with browsers.window(browser, address) as window:
        for key in ("j", "Enter"):
            await window.page.keyboard.press(key)
        await window.page.wait_for_url("**/deliveries/3")
        assert "no answer within 15 s" in await window.page.inner_text("#attempts")
        for key in ("1", "Enter"):
            await window.page.keyboard.press(key)
        await eventually(lambda: woken == ["ops"])


async def test_times_are_shown_in_the_readers_zone_with_utc_beside_them(browser: Browser, address: str) -> None:
    async with browsers.window(browser, address) as window:
        await window.open("/events/evt_1")
        text = await window.page.inner_text("main time[data-at] >> nth=0")
        assert "UTC)" in text
        assert await window.page.get_attribute("main time[data-at] >> nth=0", "title")


async def test_without_a_script_every_page_is_whole_and_its_buttons_work(browser: Browser, address: str) -> None:
    async with browsers.window(browser, address, java_script_enabled=False) as window:
        await window.page.click("text=Pause >> nth=0")
        assert "paused by hand" in await window.page.inner_text("main")
        for path in PAGES:
            await window.open(path)
            assert await window.page.locator("main h1").count() == 1
