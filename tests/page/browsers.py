"""A real browser, where Debian's Chromium is installed, on the page served by this process."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
from playwright.async_api import async_playwright

from daemon import api
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, BrowserContext, Page, ViewportSize

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
    "--process-per-site",  # the windows of a profile share the process that draws them: starting it costs most
]
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
CHECK = """([rules, where]) => {
  const grave = axe._audit.rules.filter(each => each.enabled && ['serious', 'critical'].includes(each.impact));
  return axe.run(where ?? document, {runOnly: rules ?? grave.map(each => each.id), resultTypes: ['violations']});
}"""
# Marks the elements whose kind is not known yet: their tag, their attributes' names and their classes, and those of
# all elements around them.
MARK = """known => {
  const name = each => [each.localName, ...each.classList, ...each.getAttributeNames()].join('.');
  const kind = each => each.parentElement ? kind(each.parentElement) + ' ' + name(each) : name(each);
  const fresh = [...document.querySelectorAll('body *')].map(each => [each, kind(each)])
    .filter(([, its]) => !known.includes(its));
  fresh.forEach(([each]) => each.setAttribute('data-fresh', ''));
  return fresh.map(([, its]) => its);
}"""
OF_LAYOUT = ["color-contrast", "scrollable-region-focusable"]  # the rules whose outcome depends on size and colours
WATCH_STREAMS = """(() => {
  window.streams = [];
  window.signals = 0;
  window.EventSource = class extends EventSource {
    constructor(url) {
      super(url);
      streams.push(this);
      this.addEventListener('changed', () => { signals += 1; });
    }
  };
})()"""
ICON = "/static/icon.svg"
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 375, "height": 740}
A_LONG_TIME = 90_000  # ms: longer than any timer of the script


@dataclass
class Window:
    """A page of the browser, signed in. ``complaints`` are its errors, such as violations of the policy."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    async def sign_in(self) -> None:
        async with httpx.AsyncClient(base_url=self.address, trust_env=False) as http:
            await http.post("/sign-in", data={"token": sample_data.TOKEN})
            cookies = [{"name": name, "value": value, "url": self.address} for name, value in http.cookies.items()]
        await self.page.context.add_cookies(cookies)  # type: ignore[arg-type]  # a TypedDict

    async def open(self, path: str) -> None:
        await self.page.goto(self.address + path)

    @contextlib.asynccontextmanager
    async def shows_another(self) -> AsyncIterator[None]:
        """Wait until the window shows what was asked for inside: Chromium does not close it while it changes pages."""
        async with self.page.expect_navigation():
            yield

    async def look(self, size: ViewportSize, color_scheme: Literal["light", "dark"]) -> None:
        """Change the window's size and colours."""
        await self.page.set_viewport_size(size)
        await self.page.emulate_media(color_scheme=color_scheme)

    async def violations(self, rules: list[str] | None = None, where: str | None = None) -> list[str]:
        """Return the accessibility violations of serious or critical impact.

        They are those of all rules or of these, on the whole page or of the elements that a selector names.
        """
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE)
        results: dict[str, Any] = await self.page.evaluate(CHECK, [rules, where])
        return [f"{each['id']}: {node['html']}" for each in results["violations"] for node in each["nodes"]]

    async def requests_in_a_long_time(self) -> list[str]:
        """Return what the script asks for by itself while its clock, which must be installed, goes on."""
        requests: list[str] = []
        self.page.on("request", lambda request: requests.append(request.url))
        await self.page.clock.run_for(A_LONG_TIME)
        last = self.address + ICON
        await self.page.evaluate("url => fetch(url).then(answer => answer.status)", last)
        assert requests.pop() == last, "reported in their order, so that none is still to come"
        return requests


@contextlib.asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Yield a browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def profile(browser: Browser, **options: Any) -> AsyncIterator[BrowserContext]:
    """Yield a profile of the browser, in which one window after the other can be opened."""
    context = await browser.new_context(**{"viewport": DESKTOP, "timezone_id": "Europe/Berlin"} | options)
    await context.add_init_script(WATCH_STREAMS)
    yield context
    await context.close()


@contextlib.asynccontextmanager
async def window(profile: BrowserContext, address: str, path: str | None = "/") -> AsyncIterator[Window]:
    """Yield a new window of the profile, signed in, on one of the pages; without a path, it is neither."""
    if not profile.pages:
        await (await profile.new_page()).goto(address + ICON)  # stays open, and keeps the process that draws
    await profile.clear_cookies()
    page = await profile.new_page()
    opened = Window(page, address)
    page.on("console", lambda message: opened.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    try:
        if path is not None:
            await opened.sign_in()
            await page.clock.install()
            await opened.open(path)
        yield opened
    finally:
        await page.close()


@contextlib.asynccontextmanager
async def served(database: Database, settings: Settings, services: Services) -> AsyncIterator[str]:
    """Serve the page over HTTP; yield its address."""
    async with api.serving(database, api.Current(settings, services)) as address:
        yield address or ""
