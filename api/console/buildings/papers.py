"""Forms that authorities ask for of buildings: what fills which column, to be verified, and the file."""

from datetime import UTC, datetime

from fastapi import Response

from api.console.buildings.asked import PAGE
from api.console.forms import number_of
from api.console.pages import page_router
from api.console.visits import ReadersVisit
from api.routes.building_forms import form_of

router = page_router()

FIRST_YEAR, LAST_YEAR = 2000, 2199


@router.get(PAGE + "/formulaires")
async def show_forms(visit: ReadersVisit) -> Response:
    """Each form with its source, its day, its columns, and its file for a year."""
    typed = number_of(visit.request.query_params.get("annee", ""))
    usual = datetime.now(UTC).year - 1
    return visit.page(
        "buildings/forms.html",
        forms={"operat": form_of(visit.request, "operat"), "schools-form": form_of(visit.request, "schools")},
        year=typed if typed is not None and FIRST_YEAR <= typed <= LAST_YEAR else usual,
    )
