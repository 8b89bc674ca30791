"""A real browser, where Debian's Chromium is installed, on the page served by this process."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.async_api import async_playwright

from daemon import api
from tests.harness import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from daemon.control import Services
    from daemon.settings import Settings
    from daemon.storage.database import Database

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 740}


@dataclass
class Window:
    """A page of the browser, signed in. ``complaints`` are its errors, such as violations of the policy."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str) -> None:
        await self.page.goto(self.address + path)

    async def violations(self) -> list[str]:
        """Return the accessibility violations of serious or critical impact."""
        await self.page.evaluate(AXE)
        results: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{each['id']}: {node['html']}"
            for each in results["violations"]
            if each["impact"] in {"serious", "critical"}
            for node in each["nodes"]
        ]


@contextlib.asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def window(browser: Browser, address: str, **options: Any) -> AsyncIterator[Window]:
    """A window of the browser, signed in."""
    context = await browser.new_context(**{"viewport": DESKTOP, "timezone_id": "Europe/Berlin"} | options)
    page = await context.new_page()
    opened = Window(page, address)
    page.on("console", lambda message: opened.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    await opened.open("/sign-in")
    await page.fill("#token", shown.TOKEN)
    await page.click("button.main")
    await page.wait_for_selector("text=Sign out")
    await page.wait_for_load_state("load")
    yield opened
    await context.close()


@contextlib.asynccontextmanager
async def served(database: Database, settings: Settings, services: Services) -> AsyncIterator[str]:
    """The page over HTTP; yields its address."""
    async with api.serving(database, settings, services) as address:
        yield address or ""
