"""The air of a building's rooms while people are there, and how often its doors were opened."""

from typing import Annotated, Any

from fastapi import Depends, Query, Response

from api.console.buildings.asked import PAGE, Asked, building_of, building_page
from api.console.pages import page_router
from api.console.visits import PersonsVisit, ReadersVisit
from api.fields import Id
from api.pages import Paging
from api.routes import building_rooms as routes
from api.spreadsheets import sheet
from indicators.buildings.room_air import INSUFFICIENT_PPM, SATISFYING_PPM

router = page_router()

BAR, HEIGHT = 6, 24
AIR_COLUMNS = (
    "bâtiment", "salle", "calendrier", "de", "heures occupées", "heures connues", "CO2 moyen (ppm)", "CO2 maximum",
    "part à 800 ppm ou plus", "part à 1500 ppm ou plus", "ICONE", "heures sous 400 ppm",
)  # fmt: skip
DOOR_COLUMNS = ("contact", "mois", "ouvertures", "hors calendrier", *(f"{hour} h" for hour in range(24)))
Wanted = Annotated[Asked, Depends()]
Bound = Annotated[float, Query(ge=0, le=40)]


async def _air(visit: PersonsVisit, building_id: int, asked: Asked, low: float, high: float) -> Any:
    return await routes.list_air(
        visit.caller, Paging(1), [building_id], None, asked.since, asked.until, min(low, high), max(low, high)
    )


@router.get(PAGE + "/{id}/air")
async def show_air(
    id: Id,  # noqa: A002 - The path's word.
    visit: ReadersVisit,
    asked: Wanted,
    bas: Bound = routes.USUAL_COMFORT_C[0],
    haut: Bound = routes.USUAL_COMFORT_C[1],
) -> Response:
    """CO2 and ICONE by room and week, the schools' annual evaluation, comfort and humidity."""
    building = await building_of(visit, id)
    page = await _air(visit, id, asked, bas, haut)
    return building_page(
        visit,
        "air",
        building,
        found=page.items[0] if page.items else None,
        formula=page.formula,
        limits=(SATISFYING_PPM, INSUFFICIENT_PPM),
        comfort=(min(bas, haut), max(bas, haut)),
        asked=asked,
    )


@router.get(PAGE + "/{id}/air/export")
async def export_air(id: Id, visit: ReadersVisit, asked: Wanted) -> Response:  # noqa: A002 - The path's word.
    """The whole time of each room, then its weeks, for a spreadsheet."""
    building = await building_of(visit, id)
    page = await _air(visit, id, asked, *routes.USUAL_COMFORT_C)
    rows: list[list[Any]] = []
    for room in (room for one in page.items for room in one.rooms):
        for since, co2 in (
            ("toute la période", room.co2),
            *((f"semaine du {one.monday}", one) for one in room.weeks),
        ):
            rows.append(
                [
                    building.name, room.name, room.calendar, since, co2.hours, co2.known_hours, co2.mean,
                    co2.highest, co2.above_800, co2.above_1500, co2.icone, co2.below_400,
                ]
            )  # fmt: skip
    return sheet(f"air-{building.id}", AIR_COLUMNS, rows)


async def _doors(visit: PersonsVisit, building_id: int, asked: Asked) -> Any:
    return await routes.list_openings(visit.caller, Paging(1), [building_id], None, asked.until)


@router.get(PAGE + "/{id}/ouvertures")
async def show_openings(id: Id, visit: ReadersVisit, asked: Wanted) -> Response:  # noqa: A002 - The path's word.
    """Counts of a month, and nobody's name."""
    building = await building_of(visit, id)
    page = await _doors(visit, id, asked)
    doors: list[Any] = [*page.items]
    return building_page(
        visit,
        "openings",
        building,
        doors=doors,
        bars={one.datastream_id: bars_of(one.by_hour) for one in doors},
        formula=page.formula,
        month=doors[0].month if doors else asked.until or "",
    )


def bars_of(counts: list[int]) -> str:
    """The path of a picture: a bar for each hour of the day, the highest as high as it is."""
    most = max(*counts, 1)
    return "".join(
        f"M{BAR * hour + BAR // 2} {HEIGHT}v-{round(count / most * HEIGHT, 1)}"
        for hour, count in enumerate(counts)
        if count
    )


@router.get(PAGE + "/{id}/ouvertures/export")
async def export_openings(id: Id, visit: ReadersVisit, asked: Wanted) -> Response:  # noqa: A002 - The path's word.
    """The same counts, for a spreadsheet."""
    building = await building_of(visit, id)
    doors: list[Any] = [*(await _doors(visit, id, asked)).items]
    rows = [[one.name, one.month, one.count, one.outside, *one.by_hour] for one in doors]
    return sheet(f"ouvertures-{building.id}", DOOR_COLUMNS, rows)
