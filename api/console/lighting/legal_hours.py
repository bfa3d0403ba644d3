"""Cabinets and the legal hours of the arrêté of 27 December 2018: what conforms and what does not, and the CSV."""

from urllib.parse import urlencode

from fastapi import Response

from api.console.pages import page_router
from api.console.trades.views import SHOWN, Filtered, trade_page
from api.console.visits import ReadersVisit
from api.pages import MOST, Paging
from api.routes import lighting_bounds as routes
from api.trade_store import LIGHTING

router = page_router()

PAGE = "/eclairage/horaires"


@router.get(PAGE)
async def show_legal_hours(visit: ReadersVisit, wanted: Filtered) -> Response:
    """Each cabinet against the hours of its category."""
    found = await routes.report_legal_hours(
        visit.caller, Paging(SHOWN, wanted.suite or None), wanted.commune or None
    )
    assert isinstance(found, routes.LegalHours)  # noqa: S101 - No CSV was asked for.
    query = urlencode({"commune": wanted.commune}) if wanted.commune else ""
    return await trade_page(
        visit, "lighting/legal_hours.html", LIGHTING, wanted, found,
        note=found.note, text_of_law=found.text_of_law, export=f"{PAGE}/export?{query}".rstrip("?"),
    )  # fmt: skip


@router.get(PAGE + "/export")
async def export_legal_hours(visit: ReadersVisit, wanted: Filtered) -> Response:
    """The whole report as CSV."""
    parts: list[bytes] = []
    cursor: str | None = None
    while True:
        part = await routes.report_legal_hours(visit.caller, Paging(MOST, cursor), wanted.commune or None, "csv")
        assert isinstance(part, Response)  # noqa: S101 - CSV was asked for.
        lines = bytes(part.body).splitlines(keepends=True)
        cursor = part.headers.get("Next-Cursor")
        # Each part has the heads and the note.
        parts += lines[bool(parts) : None if cursor is None else -1]
        if cursor is None:
            break
    headers = {"Content-Disposition": 'attachment; filename="heures-legales.csv"'}
    return Response(b"".join(parts), media_type="text/csv; charset=utf-8", headers=headers)
