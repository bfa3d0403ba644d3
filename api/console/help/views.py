"""Each page explained as a colleague would, and the declaration of accessibility that the law asks for."""

from typing import Annotated

from fastapi import Path, Response

from api.console.explanations import TITLES
from api.console.pages import page_router
from api.console.visits import Anybody, ReadersVisit
from core.runtime.http.errors import not_found

router = page_router()

PAGE, ACCESSIBILITY = "/aide", "/accessibilite"


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """Every explanation there is."""
    return visit.page("help/list.html", titles=TITLES)


@router.get(PAGE + "/{page}")
async def show_help(page: Annotated[str, Path(max_length=40)], visit: ReadersVisit) -> Response:
    """What one page shows, what can be done there, and what its words mean."""
    if page not in TITLES:
        raise not_found(f"aide {page}")
    return visit.page("help/page.html", page=page, title=TITLES[page])


@router.get(ACCESSIBILITY)
async def show_accessibility(visit: Anybody) -> Response:
    """How far the console follows RGAA 4.1.2, and to whom one may turn."""
    contact = visit.dependencies.access.accessibility_contact
    return visit.page(f"help/{visit.language.code}/accessibilite.html", contact=contact)
