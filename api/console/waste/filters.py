"""What the pages about bins have in common: of which bins, over which days, and by what figures are summed."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Query

from api.asset_state_store import list_communes
from api.console.navigation import marked
from api.console.visits import PersonsVisit
from api.console.where import Text
from api.fields import EARLIEST, LATEST
from api.routes.waste import Wanted
from api.trade_store import WASTE

PAGE = "/dechets"
INVALID = 422
USUAL, ONE_DAY = timedelta(days=31), timedelta(days=1)
Day = Annotated[str, Query(max_length=10, pattern=r"^(\d{4}-\d{2}-\d{2})?$")]
Word = Annotated[str, Query(max_length=20, pattern="^[a-z]*$")]
# By what figures are summed: the address's word, the API's, and how a page says it.
GROUPINGS = {
    "borne": ("bin", marked("par borne")),
    "mois": ("month", marked("par mois")),
    "commune": ("commune", marked("par commune")),
    "flux": ("stream", marked("par flux")),
}
STREAMS = {
    "glass": marked("verre"),
    "paper": marked("papier"),
    "packaging": marked("emballages"),
    "textile": marked("textile"),
    "waste": marked("ordures"),
}


def day_of(text: str) -> date | None:
    """The day; None for what is none of this platform's years."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if EARLIEST.date() < day < LATEST.date() else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which bins, from one day until another, by what."""

    genre: Text = ""
    commune: Text = ""
    du: Day = ""
    au: Day = ""
    par: Word = ""

    def period(self, visit: PersonsVisit) -> tuple[date, date | None]:
        """From which local day on, and until which, not included; a month where the address says nothing.

        What no calendar has is as if nothing were said.
        """
        since, last = day_of(self.du), day_of(self.au)
        usual = datetime.now(visit.language.zone).date() - USUAL
        return since or usual, None if last is None else last + ONE_DAY

    def wanted(self, visit: PersonsVisit) -> Wanted:
        """For the routes."""
        since, until = self.period(visit)
        return Wanted(since=since, until=until, kind=self.genre or None, commune=self.commune or None)

    def query(self, visit: PersonsVisit, **more: Any) -> dict[str, Any]:
        """Of the same list at the API's address."""
        since, until = self.period(visit)
        return {"from": since, "to": until, "kind": self.genre, "commune": self.commune} | more


Filtered = Annotated[Filter, Depends()]


async def common(visit: PersonsVisit, wanted: Filter) -> dict[str, Any]:
    """What the filter above a page needs."""
    async with visit.caller.reading() as connection:
        communes = await list_communes(connection)
    since, until = wanted.period(visit)
    return {
        "wanted": wanted,
        "since": since,
        "until": None if until is None else until - ONE_DAY,
        "kinds": [kind for kind in visit.kinds if re.search(WASTE.kinds, kind)],
        "communes": communes,
        "groupings": GROUPINGS,
        "streams": STREAMS,
        "home": PAGE,
    }
