"""What everybody reads, without a login, a cookie or a script: the page of a publication."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from alerting.wording import NO_BREAK, unit_label
from api.console.language import ENGLISH, FRENCH, Language
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.rendering import render
from api.dependencies import Dependencies
from api.public_pages import Day, Published, Shown, cacheable, read_published
from core.model.quantities import QUANTITIES, Kind
from core.model.region import region_of
from core.runtime.postgres import Pool
from registry.publications import PublicPage

router = page_router()

PAGE = "/public"
MISSING, GONE = 404, 410
# A page without a script: only its style and, as its icon, our picture.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
NOBODY = "'none'"
# The drawing, in its own units.
WIDTH, HEIGHT, EDGE = 640, 180, 8
EVERY_DAYS = 7
PERCENT = 100
DIGITS = 2
STATE_WORDS = (marked("non"), marked("oui"))


@dataclass(frozen=True, slots=True)
class Point:
    """A known day, where it is drawn."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Thirty days as a drawing: lines that stop where nothing is known, and where weeks begin."""

    lines: list[str]
    points: list[Point]
    highest: float
    lowest: float
    weeks: list[float]


def curve_of(days: Sequence[Day]) -> Curve | None:
    """The drawing of these days; None where none of them is known."""
    known = [one.value for one in days if one.value is not None]
    if not known:
        return None
    lowest, highest = min(known), max(known)
    span, step = (highest - lowest) or 1.0, (WIDTH - 2 * EDGE) / max(1, len(days) - 1)

    def place(number: int, value: float) -> Point:
        down = (HEIGHT - 2 * EDGE) * ((highest - value) / span if highest > lowest else 0.5)
        return Point(round(EDGE + number * step, 1), round(EDGE + down, 1))

    lines: list[str] = []
    points: list[Point] = []
    for is_known, run in groupby(enumerate(days), key=lambda one: one[1].value is not None):
        if is_known:
            placed = [place(number, one.value or 0.0) for number, one in run]
            points += placed
            lines.append(" ".join(f"{point.x},{point.y}" for point in placed))
    weeks = [round(EDGE + number * step, 1) for number in range(0, len(days), EVERY_DAYS)]
    return Curve(lines, points, highest, lowest, weeks)


@dataclass(frozen=True, slots=True)
class Words:
    """A value as people read it, in their language."""

    language: Language

    def unit(self, shown: Shown) -> str:
        """The unit beside a value of a day: a state lasted a part of it."""
        if shown.kind is Kind.BOOLEAN:
            return f"{NO_BREAK}%"
        unit = unit_label(shown.of.unit)
        return f"{NO_BREAK}{unit}" if unit else ""

    def now(self, shown: Shown) -> str:
        """The last value; a state and a code by their names."""
        value, known = shown.of.value, QUANTITIES.get(shown.of.quantity)
        if value is None:
            return ""
        if shown.kind is Kind.BOOLEAN:
            return self.language.gettext(STATE_WORDS[value != 0])
        if shown.kind is Kind.ENUMERATION and known is not None and 0 <= int(value) < len(known.labels):
            return known.labels[int(value)]
        return f"{self.language.number(value, DIGITS)}{self.unit(shown)}"

    def day(self, shown: Shown, value: float | None) -> str:
        """A value of a day, with its unit."""
        if value is None:
            return self.language.gettext("inconnu")
        scaled = value * PERCENT if shown.kind is Kind.BOOLEAN else value
        return f"{self.language.number(scaled, DIGITS)}{self.unit(shown)}"


def language_of(request: Request, page: PublicPage | None) -> Language:
    """The first of ours that the browser asks for; a page that anybody keeps knows no cookie."""
    wanted = request.headers.get("accept-language", "").lower()
    found = [(wanted.find(code), code) for code in (FRENCH, ENGLISH) if code in wanted]
    zone = region_of(page.department if page else None, (page.timezone if page else None) or "Europe/Paris").zone
    return Language(min(found)[1] if found else FRENCH, zone)


def render_published(request: Request, found: Published, *, is_preview: bool = False) -> str:
    """The page of a publication."""
    language = language_of(request, found.page)
    groups = [
        (name, [(one, curve_of(one.days)) for one in several])
        for (name, _), several in (
            (key, list(run)) for key, run in groupby(found.shown, key=lambda one: (one.of.asset, one.of.kind))
        )
    ]
    content: dict[str, Any] = {
        "page": found.page,
        "groups": groups,
        "updated_at": found.updated_at,
        "words": Words(language),
        "is_preview": is_preview,
        "size": (WIDTH, HEIGHT),
    }
    return _render(request, "public_page/page.html", language, content)


def _render(request: Request, template: str, language: Language, content: dict[str, Any]) -> str:
    shared = {"language": language, "now": datetime.now(UTC), "address": request.url.path}
    return render(template, language, shared | content)


def policy_of(page: PublicPage) -> str:
    """What the page may load, and which sites may show it in theirs."""
    return POLICY + (" ".join(page.hosts or ()) or NOBODY)


@router.get(PAGE + "/{slug}")
async def show(slug: str, request: Request) -> Response:
    """The page of a publication; of one that has ended a sentence that says so."""
    dependencies: Dependencies = request.app.state.platform
    pool: Pool = dependencies.pool
    found = await read_published(pool, slug)
    if found is None or found.page.ended_at is not None:
        language = language_of(request, None)
        content = {"ended_at": None if found is None else found.page.ended_at}
        body = _render(request, "public_page/over.html", language, content)
        headers = {"Content-Security-Policy": POLICY + NOBODY, "Vary": "Accept-Language"}
        return HTMLResponse(body, MISSING if found is None else GONE, headers)
    headers = {"Content-Security-Policy": policy_of(found.page)}
    content = render_published(request, found).encode()
    return cacheable(request, content, "text/html; charset=utf-8", headers, "Accept-Language")


def address_of(request: Request, slug: str) -> str:
    """Where everybody reads it."""
    dependencies: Dependencies = request.app.state.platform
    base = dependencies.access.public_url or str(request.base_url)
    return f"{base.rstrip('/')}{PAGE}/{quote(slug)}"
