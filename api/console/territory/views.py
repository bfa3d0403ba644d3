"""The map, and the same things as a list beside it."""

import gzip
from dataclasses import dataclass
from typing import Annotated

import msgspec
from fastapi import Depends, Request, Response

from api import asset_state_store as store
from api.auth import Caller
from api.console.pages import page_router
from api.console.visits import ReadersVisit
from api.console.where import Text, Where, read_places
from api.console.wording import STATES
from registry.assets import WantedAssets

router = page_router()

PAGE = "/carte"
LISTED = 100
DRAWN_MOST = 10_000
# A ten-thousandth of a degree is eleven metres, a hundred-thousandth one.
DIGITS = 5
# Of gzip: 6 takes ten thousand points 17 ms in place of 6, for a twentieth of the size.
LEVEL = 4


@dataclass(frozen=True, slots=True)
class Filter(Where):
    """Which assets a page shows: what the form above it says, and its address."""

    genre: Text = ""
    etat: Text = ""
    q: Text = ""

    def wanted(self) -> store.Wanted:
        """For the statement."""
        place = self.place()
        kind, search = self.genre or None, self._search()
        return store.Wanted(kind, place.commune, search, place.box, None, self.tag, self.quarter, place.circle)

    def assets(self) -> WantedAssets:
        """For a list that may be sorted."""
        return WantedAssets(self.genre or None, self._search(), self.tag, quarter=self.quarter, place=self.place())

    def _search(self) -> str | None:
        return self.q.strip()[:100] or None

    def states(self) -> list[str] | None:
        """Of these states only; None: of any."""
        return [self.etat] if self.etat in STATES else None

    def named(self) -> dict[str, str]:
        """What the address says."""
        named = {"genre": self.genre, "etat": self.etat, "q": self.q}
        return {name: value for name, value in named.items() if value} | Where.named(self)


Filtered = Annotated[Filter, Depends()]


@dataclass(frozen=True, slots=True)
class Choices:
    """What a form offers."""

    kinds: list[str]
    communes: list[str]


async def read_choices(caller: Caller) -> Choices:
    """Of what there is."""
    async with caller.reading() as connection:
        return Choices(await store.list_kinds(connection), await store.list_communes(connection))


@router.get(PAGE)
async def show(visit: ReadersVisit, wanted: Filtered) -> Response:
    """The page: the map is drawn by a script from its points, the list is there without it."""
    async with visit.caller.reading() as connection:
        listed = await store.list_states(connection, wanted.wanted(), wanted.states(), most=LISTED + 1)
    return visit.page(
        "territory/page.html",
        wanted=wanted,
        where=wanted,
        places=await read_places(visit.caller),
        listed=listed[:LISTED],
        more=len(listed) > LISTED,
    )


@router.get(f"{PAGE}/points")
async def show_points(visit: ReadersVisit, wanted: Filtered) -> Response:
    """What the map draws: columns, which are half as long as objects; those without a place are left out."""
    async with visit.caller.reading() as connection:
        found = await store.list_states(connection, wanted.wanted(), wanted.states(), most=DRAWN_MOST)
    placed = [one for one in found if one.latitude is not None and one.longitude is not None]
    states = list(STATES)
    columns = {
        "states": states,
        "id": [one.id for one in placed],
        "latitude": [round(one.latitude or 0.0, DIGITS) for one in placed],
        "longitude": [round(one.longitude or 0.0, DIGITS) for one in placed],
        "state": [states.index(one.state) for one in placed],
        "name": [one.name for one in placed],
    }
    return packed(visit.request, msgspec.json.encode(columns), "application/json")


def packed(request: Request, content: bytes, media_type: str) -> Response:
    """An answer that is compressed for who can read that."""
    headers = {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = gzip.compress(content, LEVEL, mtime=0), "gzip"
    return Response(content, headers=headers, media_type=media_type)
