"""Debian's Chromium, driven by Playwright. No browser is ever downloaded, and no page's policy bypassed."""

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

LOGIN = "/connexion"
STARTS_WITHIN_MS = 60_000
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


class BrowserMissing(Exception):
    """There is no Chromium on this machine; the message is for the operator and says what to do."""


@asynccontextmanager
async def open_chromium() -> AsyncGenerator[Browser]:
    """A browser without windows.

    Raises:
        BrowserMissing: none is installed.
    """
    program = shutil.which("chromium", path=f"{os.environ.get('PATH', '')}:/usr/bin")
    if program is None:
        raise BrowserMissing("il manque Chromium : apt-get install chromium")
    # A sandbox cannot be made by root, which is what a container's only account is.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=arguments, timeout=STARTS_WITHIN_MS, handle_sigint=False
        )
        try:
            yield browser
        finally:
            await browser.close()


async def log_in(page: Page, console_url: str, email: str, password: str, tenant: str = "") -> None:
    """As a person does it; `tenant` is the one to choose where the person is a member of several.

    Raises:
        playwright.async_api.TimeoutError: it did not lead into the console.
    """
    await page.goto(f"{console_url}{LOGIN}")
    await page.locator("#email").fill(email)
    await page.locator("#password").fill(password)
    await page.locator("main form button").first.click()
    await page.wait_for_url(lambda url: not url.endswith(LOGIN))
    if tenant and "/collectivite" in page.url:
        await page.get_by_role("button", name=tenant).click()
        await page.wait_for_url(lambda url: "/collectivite" not in url)
