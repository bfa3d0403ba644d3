"""Every page, whoever adds it: axe, both themes, 200 %, 320 pixels, and what axe does not see of RGAA 4.1.2."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Page, ViewportSize

from lab.browser.pages import PARTS, PagePath, page_paths
from tests.browser.conftest import Visit, Visitor

PAGES = page_paths()
RIGHTS = Path(__file__).parents[1] / "api" / "console" / "rights_of_pages.txt"
# Twice as large is half as wide.
AT_200_PERCENT: ViewportSize = {"width": 640, "height": 450}
COLOURS = ("color-contrast", "link-in-text-block")
NARROW: ViewportSize = {"width": 320, "height": 640}
every_page = pytest.mark.parametrize("one", PAGES, ids=[page.name for page in PAGES])

WITHOUT_CAPTION = """() => [...document.querySelectorAll("table")]
  .filter((one) => !one.closest("[role=img]"))  // Drawn, and read elsewhere.
  .filter((one) => !one.caption || !one.caption.textContent.trim()).map((one) => one.outerHTML.slice(0, 200))"""
LIVE = """() => [...document.querySelectorAll("[aria-live]:not([aria-live=off]), [role=log], [role=marquee]")]
  .map((one) => one.id || one.outerHTML.slice(0, 100))"""
RENEWED_ALOUD = """() => [...document.querySelectorAll("[hx-trigger*=every], #frames")]
  .filter((one) => one.closest("[role=status], [role=alert], [aria-live]")).map((one) => one.id)"""
FOCUSED = """() => { const one = document.activeElement, style = getComputedStyle(one);
  return { name: one.tagName + "." + one.className + "#" + one.id, body: one === document.body,
           seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 }; }"""
SIDEWAYS = """() => { const wide = document.documentElement.clientWidth;
  return document.documentElement.scrollWidth <= wide ? [] : [...document.querySelectorAll("body *")]
    .filter((one) => !one.closest(".scroll, .visually-hidden, .map"))
    .filter((one) => one.getBoundingClientRect().right > wide + 1)
    .map((one) => one.tagName + "." + one.className).slice(0, 8); }"""


def test_every_page_of_the_console_is_looked_at() -> None:
    listed = {line.split()[1] for line in RIGHTS.read_text("utf-8").splitlines() if line.startswith("GET ")}

    assert listed - PARTS <= {page.path for page in PAGES}


@every_page
async def test_no_page_has_a_violation_in_either_theme_nor_at_200_percent_nor_in_english(
    one: PagePath, visit: Visit
) -> None:
    """Everything that axe knows in each theme and at each size; colours, which hang on both, in all four."""
    role = None if one.right is None else "operator"
    french = await visit(role)
    # A public page follows the browser, all others what was chosen.
    english = await visit(role, locale="en-GB")
    await english.choose("en")
    await asyncio.gather(_is_accessible_in_french(french, one), _is_accessible_in_english(english, one))


async def _is_accessible_in_french(visitor: Visitor, one: PagePath) -> None:
    """Opened once: who changes the theme or the size has the page before them."""
    page = await visitor.open_example(one)
    await visitor.is_accessible()
    await page.emulate_media(color_scheme="dark")
    await visitor.is_accessible(COLOURS)
    await page.set_viewport_size(AT_200_PERCENT)
    await visitor.is_accessible()
    await page.emulate_media(color_scheme="light")
    await visitor.is_accessible(COLOURS)


async def _is_accessible_in_english(visitor: Visitor, one: PagePath) -> None:
    page = await visitor.open_example(one)
    assert await page.locator("html").get_attribute("lang") == "en"
    await visitor.is_accessible()


@every_page
async def test_a_page_is_read_by_keyboard_and_ear_and_at_320_pixels(one: PagePath, visit: Visit) -> None:
    visitor = await visit(None if one.right is None else "operator")
    page = await visitor.open_example(one)

    assert await page.locator("h1").count() == 1
    assert (await page.locator("h1").inner_text()).strip()
    assert await page.evaluate(WITHOUT_CAPTION) == []
    assert set(await page.evaluate(LIVE)) <= {"alert-count"}
    assert await page.evaluate(RENEWED_ALOUD) == []
    assert await page.title() != " – Territoire"
    if one.path != "/accessibilite":
        assert await page.locator("a[href='/accessibilite']").count() == 1
    if not await page.locator("body.public").count():  # A public page begins with its content.
        await _skips_to_the_content(page)
    await _shows_where_the_keyboard_is(page)
    await page.set_viewport_size(NARROW)
    await visitor.open_example(one)
    assert await page.evaluate(SIDEWAYS) == []


async def _skips_to_the_content(page: Page) -> None:
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    assert await page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "contenu"


async def _shows_where_the_keyboard_is(page: Page) -> None:
    """The first things that it comes to in the page, wherever they are; the later half in the dark."""
    for turn in range(12):
        await page.emulate_media(color_scheme="light" if turn < 6 else "dark")
        await page.keyboard.press("Tab")
        focused = await page.evaluate(FOCUSED)
        if focused["body"]:
            return
        assert focused["seen"], focused["name"]
